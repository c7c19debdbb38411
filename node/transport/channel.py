"""Shared memory between the processes of a node: the only module that knows iceoryx2.

    sender process                              receiver process
    Outlet.loan(n) ─▶ Slot (write) ─▶ send()    Inbox.receive(timeout) ─▶ memoryview (no copy)
         publisher + notifier  ───── queue of `depth` slots, bounded ─────▶ subscriber + listener

One inbox per receiver, any number of senders. A full or absent inbox refuses (`loan` returns None, `send` False):
nothing is dropped in silence, nobody blocks. A view that the receiver holds keeps its slot; all slots of a killed
process are taken back by `Channel.sweep_dead`. Payload bytes are written once by the sender and read in place. Whoever
opens an address after a killed process has an inbox of its own, and senders follow (see `incarnations`).
"""

import contextlib
import ctypes
import functools
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iceoryx2 as iox

from node.transport.incarnations import Incarnations, current, new_name

MAX_SENDERS = 32  # per inbox, where nothing else is said: gateway, upstream handlers, and the dead ones not yet swept
MAX_RECEIVERS = 1  # who follows it has an inbox of its own
UNANSWERED = 8  # packets that a receiver may hold beside: sent on as they came, and not yet answered
INITIAL_SLOT = 4096  # bytes; grows by powers of two as frames do
SHM = Path("/dev/shm")  # noqa: S108 - not a temporary folder: where shared memory lives

iox.set_log_level(iox.LogLevel.Fatal)


class ChannelError(OSError):
    """Shared memory cannot be had; the message says what and why."""


class Slot:
    """Room in shared memory for one packet: write into `view`, then `send`. Dropping it gives it back."""

    __slots__ = ("_incarnation", "_outlet", "_sample", "view")

    def __init__(self, outlet: "Outlet", sample: Any, size: int, incarnation: str | None) -> None:
        self._outlet = outlet
        self._sample = sample
        self._incarnation = incarnation
        self.view: memoryview = _view(sample, size)

    def send(self) -> bool:
        """Hand the packet over. Returns False when the inbox is full, nobody listens or another has followed."""
        sample, self._sample, self.view = self._sample, None, memoryview(b"")
        return self._outlet.publish(sample, self._incarnation)


class Outlet:
    """The sending end of one address: of the inbox that is there now. Safe to use from several threads."""

    def __init__(self, address: str, link: str, enter: Callable[[str], tuple[Any, Any]]) -> None:
        """link: names the inbox's incarnation; enter: opens (publisher, notifier) of one, may raise ChannelError."""
        self._link = link
        self._enter = enter
        self._incarnation: str | None = None  # that the ports are of
        self._publisher: Any = None
        self._notifier: Any = None
        self._lock = threading.Lock()
        self._closed = False
        self.address = address

    def __repr__(self) -> str:
        return f"<Outlet {self.address}>"

    def loan(self, size: int) -> Slot | None:
        """Return room for *size* bytes; None when every slot is in use, nobody receives or the outlet is closed.

        Raises ChannelError.
        """
        with self._lock:
            if self._closed or not self._follow():  # the library aborts the process when a deleted port is used
                return None
            try:
                return Slot(self, self._publisher.loan_slice_uninit(max(1, size)), size, self._incarnation)
            except iox.LoanError as error:
                if "ExceedsMaxLoan" in str(error) or "OutOfMemory" in str(error):
                    return None
                raise ChannelError(f"cannot loan {size} bytes: {error}") from error

    def _follow(self) -> bool:
        """Have ports of the inbox that is there now; returns False when none is."""
        incarnation = current(self._link)
        if incarnation is not None and incarnation != self._incarnation:
            self._leave()
            self._publisher, self._notifier = self._enter(incarnation)
            self._incarnation = incarnation
        return incarnation is not None

    def _leave(self) -> None:
        if self._incarnation is not None:
            self._incarnation = None
            self._publisher.delete()
            self._notifier.delete()

    def publish(self, sample: Any, incarnation: str | None) -> bool:
        """Send a sample that was loaned from that *incarnation*; used by Slot."""
        with self._lock:
            if self._closed or incarnation != self._incarnation:
                return False
            try:
                taken = sample.assume_init().send()
            except iox.SendError as error:
                raise ChannelError(f"cannot send to {self.address}: {error}") from error
            if not taken:
                return False
            try:
                self._notifier.notify()
            except iox.NotifierNotifyError:  # the receiver died: seen elsewhere
                return True
            return True

    def close(self) -> None:
        """Give the ports back; other threads that still use the outlet are refused from now on."""
        with self._lock:
            self._closed = True
            self._leave()


class Inbox:
    """The receiving end: one thread receives."""

    def __init__(self, subscriber: Any, listener: Any, address: str, withdraw: Callable[[], None]) -> None:
        """withdraw: tells senders that nobody receives here any more."""
        self._subscriber = subscriber
        self._listener = listener
        self._withdraw = withdraw
        self.address = address

    def receive(self, timeout_s: float) -> memoryview | None:
        """Return the next packet's bytes, read-only and not copied, or None after *timeout_s*."""
        sample = self._take()
        if sample is None and timeout_s > 0:
            sample = self._wait(time.monotonic() + timeout_s)
        if sample is None:
            return None
        return _view(sample, sample.header.number_of_elements).toreadonly()

    def _wait(self, deadline: float) -> Any:
        """Wait for a sample. Notices of packets that were taken without waiting are still there, and wake in vain."""
        sample = None
        while sample is None and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(iox.ListenerWaitError):  # a signal, SIGCONT too, interrupts the wait
                self._listener.timed_wait(iox.Duration.from_secs_f64(left))
            sample = self._take()
        return sample

    def _take(self) -> Any:
        try:
            return self._subscriber.receive()
        except iox.ReceiveError as error:
            raise ChannelError(f"cannot receive at {self.address}: {error}") from error

    def close(self) -> None:
        """Give the ports back."""
        self._withdraw()
        self._subscriber.delete()
        self._listener.delete()

    @property
    def listener(self) -> Any:
        """What wakes the receiver; used by Waits."""
        return self._listener


class Waits:
    """Waits for a packet in an inbox and for what a file descriptor tells (an epoll's: many more), both at once."""

    def __init__(self, inbox: Inbox, number: int) -> None:
        """number: of the file descriptor, which must stay open as long as this."""
        self._listener = inbox.listener
        builder = iox.WaitSetBuilder.new().signal_handling_mode(iox.SignalHandlingMode.Disabled)
        try:
            self._set: Any = builder.create(iox.ServiceType.Ipc)
            self._of_inbox: Any = self._set.attach_notification(self._listener)
            self._of_file: Any = self._set.attach_notification_fd(iox.FileDescriptor.non_owning_new(number))
        except (iox.WaitSetCreateError, iox.WaitSetAttachmentError) as error:
            raise ChannelError(f"cannot wait for {inbox.address}: {error}") from error

    def wait(self, timeout_s: float) -> None:
        """Return when there may be something, or after *timeout_s*."""
        try:
            found, _ = self._set.wait_and_process_with_timeout(iox.Duration.from_secs_f64(timeout_s))
        except iox.WaitSetRunError:  # a signal, SIGCONT too, interrupts the wait
            return
        for one in found:
            if one.has_event_from(self._of_inbox):
                self._listener.try_wait()  # the notice; the packets are taken from the inbox

    def close(self) -> None:
        """Wait no more: before the inbox and the file are closed."""
        for guard in (self._of_inbox, self._of_file):
            guard.delete()
        self._set.delete()


def _view(sample: Any, size: int) -> memoryview:
    """Return a writable view of the sample's *size* bytes that keeps the sample alive."""
    array = _array_type((size - 1).bit_length() if size else 0).from_address(sample.payload_ptr)
    array.owner = sample
    return memoryview(array).cast("B")[:size]


@functools.cache
def _array_type(bits: int) -> Any:
    """Return the type of 2**bits bytes. ctypes makes a class per length, which costs more than a hop's Python."""
    return ctypes.c_ubyte * (1 << bits)


class Channel:
    """This process's access to the agent's shared memory."""

    def __init__(self, name: str, run_path: Path) -> None:
        """Join the channel *name* (unique per agent on a machine) that keeps its files in *run_path*."""
        self._sweeping = threading.Lock()
        config = iox.config.default()
        config.global_cfg.prefix = iox.FileName.new(f"{name}_")
        config.global_cfg.root_path = iox.Path.new(str(run_path / "channel"))
        try:
            builder = iox.NodeBuilder.new().config(config).signal_handling_mode(iox.SignalHandlingMode.Disabled)
            self._node: Any = builder.create(iox.ServiceType.Ipc)
        except iox.NodeCreationFailure as error:
            raise ChannelError(f"cannot join {name!r} in {run_path}: {error}") from error
        self._incarnations = Incarnations(run_path / "channel" / "inboxes")

    def inbox(self, address: str, depth: int, senders: int = MAX_SENDERS) -> Inbox:
        """Open an inbox, which holds *depth* packets and lets the receiver hold that many and a few.

        From now on senders to *address* send here, and no longer to who received there before.
        """
        name = new_name()
        try:
            frames = self._frames(f"{address}@{name}", depth, senders).open_or_create()
            wakes = self._wakes(f"{address}@{name}", senders).open_or_create()
            subscriber = frames.subscriber_builder().buffer_size(depth).create()
            listener = wakes.listener_builder().create()
            self._incarnations.announce(address, name)
        except _ERRORS as error:
            raise ChannelError(f"cannot open inbox {address}: {error}") from error
        return Inbox(subscriber, listener, address, lambda: self._incarnations.withdraw(address, name))

    def outlet(self, address: str, depth: int, senders: int = MAX_SENDERS) -> Outlet:
        """Return a sending end of the inbox *address*; the inbox may come later. Both ends name the same numbers."""
        return Outlet(
            address,
            self._incarnations.path(address),
            lambda name: self._enter(address, f"{address}@{name}", depth, senders),
        )

    def _enter(self, address: str, service: str, depth: int, senders: int) -> tuple[Any, Any]:
        try:
            frames = self._frames(service, depth, senders).open_or_create()
            wakes = self._wakes(service, senders).open_or_create()
            publisher = (
                frames.publisher_builder()
                .initial_max_slice_len(INITIAL_SLOT)
                .allocation_strategy(iox.AllocationStrategy.PowerOfTwo)
                .backpressure_strategy(iox.BackpressureStrategy.DiscardData)
                .max_loaned_samples(16)
                .create()
            )
            return publisher, wakes.notifier_builder().create()
        except _ERRORS as error:
            raise ChannelError(f"cannot open outlet {address}: {error}") from error

    def sweep_dead(self) -> None:
        """Take back what killed processes held; one thread at a time, since several may hear of deaths at once."""
        with self._sweeping:
            self._node.try_cleanup_dead_nodes()

    def close(self) -> None:
        """Leave the channel."""
        self._node = None

    def _frames(self, service: str, depth: int, senders: int) -> Any:
        """All limits are set: the library's defaults overwrite unread packets and hold two."""
        return (
            self._node.service_builder(iox.ServiceName.new(service))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .enable_safe_overflow(False)
            .history_size(0)
            .subscriber_max_buffer_size(depth)
            .subscriber_max_borrowed_samples(depth + UNANSWERED)
            .max_publishers(senders)
            .max_subscribers(MAX_RECEIVERS)
            .max_nodes(senders + MAX_RECEIVERS)
        )

    def _wakes(self, service: str, senders: int) -> Any:
        return (
            self._node.service_builder(iox.ServiceName.new(service))
            .event()
            .max_notifiers(senders)
            .max_listeners(MAX_RECEIVERS)
            .max_nodes(senders + MAX_RECEIVERS)
        )


_ERRORS = (
    OSError,
    iox.PublishSubscribeOpenOrCreateError,
    iox.EventOpenOrCreateError,
    iox.PublisherCreateError,
    iox.SubscriberCreateError,
    iox.ListenerCreateError,
    iox.NotifierCreateError,
)


def sweep(name: str, run_path: Path) -> int:
    """Remove what is left of the channel *name* when none of its processes lives. Returns the files removed."""
    left = [p for p in SHM.glob(f"{name}_*") if p.is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    shutil.rmtree(run_path / "channel", ignore_errors=True)
    return len(left)
