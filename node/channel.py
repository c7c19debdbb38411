"""Shared memory between the processes of a node: the only module that knows iceoryx2.

    sender process                              receiver process
    Outlet.loan(n) ─▶ Slot (write) ─▶ send()    Inbox.receive(timeout) ─▶ memoryview (no copy)
         publisher + notifier  ───── queue of `depth` slots, bounded ─────▶ subscriber + listener

One inbox per receiver, any number of senders. A full or absent inbox refuses (`send` returns False): nothing is
dropped in silence, nobody blocks. A view that the receiver holds keeps its slot; all slots of a killed process are
taken back by `Channel.sweep_dead`. Payload bytes are written once by the sender and read in place.
"""

import contextlib
import ctypes
import functools
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import iceoryx2 as iox

MAX_SENDERS = 32  # per inbox: gateway and upstream handlers, and the dead ones not yet swept
MAX_RECEIVERS = 2  # the living one, and a dead one not yet swept
UNANSWERED = 8  # packets that a receiver may hold beside: sent on as they came, and not yet answered
INITIAL_SLOT = 4096  # bytes; grows by powers of two as frames do
SHM = Path("/dev/shm")  # noqa: S108 - not a temporary folder: where shared memory lives

iox.set_log_level(iox.LogLevel.Fatal)


class ChannelError(OSError):
    """Shared memory cannot be had; the message says what and why."""


class Slot:
    """Room in shared memory for one packet: write into `view`, then `send`. Dropping it gives it back."""

    __slots__ = ("_outlet", "_sample", "view")

    def __init__(self, outlet: "Outlet", sample: Any, size: int) -> None:
        self._outlet = outlet
        self._sample = sample
        self.view: memoryview = _view(sample, size)

    def send(self) -> bool:
        """Hand the packet over. Returns False when the inbox is full or nobody listens."""
        sample, self._sample, self.view = self._sample, None, memoryview(b"")
        return self._outlet.publish(sample)


class Outlet:
    """The sending end of one inbox. Safe to use from several threads."""

    def __init__(self, publisher: Any, notifier: Any, address: str) -> None:
        self._publisher = publisher
        self._notifier = notifier
        self._lock = threading.Lock()
        self._closed = False
        self.address = address

    def __repr__(self) -> str:
        return f"<Outlet {self.address}>"

    def loan(self, size: int) -> Slot | None:
        """Return room for *size* bytes, or None when every slot is in use or the outlet closed. Raises ChannelError."""
        with self._lock:
            if self._closed:  # the library aborts the process when a deleted port is used
                return None
            try:
                return Slot(self, self._publisher.loan_slice_uninit(max(1, size)), size)
            except iox.LoanError as error:
                if "ExceedsMaxLoan" in str(error) or "OutOfMemory" in str(error):
                    return None
                raise ChannelError(f"cannot loan {size} bytes: {error}") from error

    def publish(self, sample: Any) -> bool:
        """Send a loaned sample; used by Slot."""
        with self._lock:
            if self._closed:
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
            if self._closed:
                return
            self._closed = True
            self._publisher.delete()
            self._notifier.delete()


class Inbox:
    """The receiving end: one thread receives."""

    def __init__(self, subscriber: Any, listener: Any, address: str) -> None:
        self._subscriber = subscriber
        self._listener = listener
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

    def inbox(self, address: str, depth: int) -> Inbox:
        """Open the inbox *address*, which holds *depth* packets, and lets the receiver hold that many and a few."""
        try:
            frames = self._frames(address, depth).open_or_create()
            wakes = self._wakes(address).open_or_create()
            return Inbox(
                frames.subscriber_builder().buffer_size(depth).create(), wakes.listener_builder().create(), address
            )
        except _ERRORS as error:
            raise ChannelError(f"cannot open inbox {address}: {error}") from error

    def outlet(self, address: str, depth: int) -> Outlet:
        """Open a sending end of the inbox *address*; the inbox may come later. Both ends name the same depth."""
        try:
            frames = self._frames(address, depth).open_or_create()
            wakes = self._wakes(address).open_or_create()
            publisher = (
                frames.publisher_builder()
                .initial_max_slice_len(INITIAL_SLOT)
                .allocation_strategy(iox.AllocationStrategy.PowerOfTwo)
                .backpressure_strategy(iox.BackpressureStrategy.DiscardData)
                .max_loaned_samples(16)
                .create()
            )
            return Outlet(publisher, wakes.notifier_builder().create(), address)
        except _ERRORS as error:
            raise ChannelError(f"cannot open outlet {address}: {error}") from error

    def sweep_dead(self) -> None:
        """Take back what killed processes held; one thread at a time, since several may hear of deaths at once."""
        with self._sweeping:
            self._node.try_cleanup_dead_nodes()

    def close(self) -> None:
        """Leave the channel."""
        self._node = None

    def _frames(self, address: str, depth: int) -> Any:
        """All limits are set: the library's defaults overwrite unread packets and hold two."""
        return (
            self._node.service_builder(iox.ServiceName.new(address))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .enable_safe_overflow(False)
            .history_size(0)
            .subscriber_max_buffer_size(depth)
            .subscriber_max_borrowed_samples(depth + UNANSWERED)
            .max_publishers(MAX_SENDERS)
            .max_subscribers(MAX_RECEIVERS)
            .max_nodes(MAX_SENDERS + MAX_RECEIVERS)
        )

    def _wakes(self, address: str) -> Any:
        return (
            self._node.service_builder(iox.ServiceName.new(address))
            .event()
            .max_notifiers(MAX_SENDERS)
            .max_listeners(MAX_RECEIVERS)
            .max_nodes(MAX_SENDERS + MAX_RECEIVERS)
        )


_ERRORS = (
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
