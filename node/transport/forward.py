"""Packets leave a process: into an inbox of this node, or over a kept connection to another node's gateway.

A full inbox or a 503 makes the sender wait: back-pressure travels upstream. A node that is away is tried again until
the plan changes; the entry sends the frame again to the new place. A handler's process need not wait for each answer:
what it sends `later` is a few packets ahead of them.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from node.processes.progress import last_done
from node.reporting.recorder import Recorder
from node.transport.addresses import (
    GATEWAY,
    GATEWAY_DEPTH,
    GATEWAY_SENDERS,
    handler_address,
    handler_depth,
    input_path,
    results_path,
)
from node.transport.balance import Balance
from node.transport.channel import MAX_SENDERS, Channel, Outlet, Slot
from node.transport.hop import HopClient
from node.transport.hop_answers import always
from node.transport.hop_link import HopLink, Parcel, ignore_done, ignore_taken, never
from node.transport.routing import Target
from wire.credential import Credential
from wire.messages import Route, SessionPlan
from wire.packet import Buffer, total

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.002, 0.2  # between attempts
GIVE_UP_S = 20.0  # after so long without success a packet is let go; the entry sends its frame again


class Forwarder:
    """Sends for one thread. `closing` is set when the process must end."""

    def __init__(
        self,
        channel: Channel,
        node_id: int,
        recorder: Recorder,
        credential: Credential | None,
        closing: threading.Event,
        plan: Callable[[], SessionPlan],
        run_path: str = "",
    ) -> None:
        """run_path: the agent's folder, where the handlers of this node say how far they are."""
        self._channel = channel
        self._node_id = node_id
        self._recorder = recorder
        self._credential = credential
        self._closing = closing
        self._plan = plan
        self._outlets: dict[str, Outlet] = {}
        self._links: dict[str, HopLink] = {}
        self._opening = threading.Lock()
        self._run_path = run_path
        self._balance = Balance()
        self.let_go = 0  # packets

    def route(self, session_id: int, target: Target, sequence: int) -> Route:
        """Return the replica of *target* for a frame: the one with the fewest frames of this sender outstanding.

        The inputs of a join must meet, so there all senders go by the sequence.
        """
        if len(target.replicas) == 1 or target.inputs > 1:
            return target.replica(sequence)
        if any(r.node_id == self._node_id for r in target.replicas):
            last = last_done(self._run_path, session_id, target.handler_id)
            if last is not None:
                self._balance.done(target.handler_id, self._node_id, last)
        return self._balance.choose(target.handler_id, target.replicas, sequence, time.monotonic())

    def send(
        self,
        session_id: int,
        target: Target,
        sequence: int,
        pieces_for: Callable[[Route], list[Buffer]],
        needed: Callable[[], bool] = always,
        *,
        taken: Callable[[float, int], None] = ignore_taken,
        later: bool = False,
    ) -> None:
        """Send a frame to one of the replicas of *target*; to another when that one's node takes no connection.

        *pieces_for*: the packet as it goes by a route. The rest is as in `to_handler`; answers of replicas say how
        far they are, so they are always waited for.
        """
        later = later and len(target.replicas) == 1
        while True:
            route = self.route(session_id, target, sequence)
            pieces = pieces_for(route)
            where = (session_id, target.handler_id, target.port)
            elsewhere = partial(self._other, target, route)
            if self.to_handler(
                route,
                where,
                target.inputs,
                pieces,
                needed,
                epoch=target.epoch,
                elsewhere=elsewhere,
                taken=taken,
                later=later,
            ):
                return
            if not needed() or not elsewhere() or self._closing.is_set():
                return

    def _other(self, target: Target, route: Route) -> bool:
        """Return True when *route*'s node is away and another's is not; never for joins: their inputs must meet."""
        if len(target.replicas) == 1 or target.inputs > 1:
            return False
        alive = self._balance.alive(target.replicas, time.monotonic())
        return bool(alive) and route not in alive

    def to_handler(
        self,
        route: Route,
        target: tuple[int, int, int],
        inputs: int,
        pieces: list[Buffer],
        needed: Callable[[], bool] = always,
        *,
        epoch: int,
        elsewhere: Callable[[], bool] = never,
        taken: Callable[[float, int], None] = ignore_taken,
        later: bool = False,
    ) -> bool:
        """Send a packet to target = (session, handler, input) on the route's node; *inputs* of that handler.

        epoch: of the plan that the route is of; when that is over, nobody may be there any more who takes the packet.
        Returns False when it had to be let go, was not *needed* any more, or had better go *elsewhere*. *taken* is
        called with the time of sending (s since the epoch) and the bytes when the other side has it. *later*: another
        node's answer is not waited for, and the pieces must not change before it; call `collect` now and then, and
        `settle` before a long wait.
        """
        session_id, handler_id, port = target
        if route.node_id == self._node_id:
            return self._put(self.outlet(session_id, handler_id, inputs), pieces, needed, taken, epoch)
        parcel = _parcel(input_path(session_id, handler_id, port), pieces, taken, epoch)
        parcel.done = lambda last: self._balance.done(handler_id, route.node_id, last)
        return self._to_node(route.url, route.node_id, parcel, lambda: needed() and not elsewhere(), later)

    def to_entry(
        self,
        plan: SessionPlan,
        session_id: int,
        pieces: list[Buffer],
        *,
        taken: Callable[[float, int], None] = ignore_taken,
        later: bool = False,
    ) -> bool:
        """Send a result packet to the entry's gateway; the rest is as in `to_handler`."""
        if plan.entry.node_id == self._node_id:
            return self._put(self._outlet(GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS), pieces, always, taken, plan.epoch)
        parcel = _parcel(results_path(session_id), pieces, taken, plan.epoch)
        return self._to_node(plan.entry.url, plan.entry.node_id, parcel, always, later)

    def _put(
        self,
        outlet: Outlet,
        pieces: list[Buffer],
        needed: Callable[[], bool],
        taken: Callable[[float, int], None],
        epoch: int,
    ) -> bool:
        sent = self._persist(lambda: put(outlet, pieces), needed, epoch)
        if sent:
            taken(time.time(), total(pieces))
        return sent

    def collect(self) -> bool:
        """Read the answers that are there; returns whether more will come."""
        return any([link.collect() for link in self._links.values()])

    def settle(self) -> None:
        """Wait for the answers to all that was sent."""
        for link in self._links.values():
            link.settle()

    def outlet(self, session_id: int, handler_id: int, inputs: int) -> Outlet:
        """Return the sending end of a handler's inbox on this node."""
        plan = self._plan()
        return self._outlet(handler_address(session_id, handler_id, plan.window), handler_depth(plan, inputs))

    def _outlet(self, address: str, depth: int, senders: int = MAX_SENDERS) -> Outlet:
        outlet = self._outlets.get(address)
        if outlet is None:
            with self._opening:
                outlet = self._outlets.get(address) or self._channel.outlet(address, depth, senders)
                self._outlets[address] = outlet
        return outlet

    def _to_node(self, url: str, node_id: int, parcel: Parcel, needed: Callable[[], bool], later: bool) -> bool:
        link = self._links.get(url)
        if link is None:
            client = HopClient(url, self._credential)
            link = HopLink(client, node_id, self._recorder, self._persist, self._away, self._welcome)
            self._links[url] = link
        if not later:
            return link.send(parcel, needed)
        link.submit(parcel)
        return True

    def _away(self, node_id: int) -> None:
        """A node takes no connection."""
        self._recorder.unreachable(node_id)
        self._balance.away(node_id, time.monotonic())

    def _persist(self, attempt: Callable[[], bool | None], needed: Callable[[], bool], epoch: int) -> bool:
        """Repeat *attempt* while it returns None, its *epoch* is welcome and it is *needed*.

        A planned move leaves the older epoch welcome: what waits for a full inbox goes on waiting for it.
        """
        wait, deadline = FIRST_WAIT_S, time.monotonic() + GIVE_UP_S
        while self._welcome(epoch) and needed():
            if (done := attempt()) is not None:
                return done
            if time.monotonic() > deadline or self._closing.wait(wait):
                break
            wait = min(2 * wait, LONGEST_WAIT_S)
        self.let_go += 1
        return False

    def _welcome(self, epoch: int) -> bool:
        return self._plan().accept_from <= epoch

    @property
    def idle(self) -> bool:
        """Return True when nothing that was sent `later` is under way."""
        return all(link.idle for link in self._links.values())

    def close(self) -> None:
        """Close connections and outlets."""
        for link in self._links.values():
            link.close()
        for outlet in self._outlets.values():
            outlet.close()


def _parcel(path: str, pieces: list[Buffer], taken: Callable[[float, int], None], epoch: int) -> Parcel:
    return Parcel(path, pieces, total(pieces), epoch, ignore_done, taken)


def put(outlet: Outlet, pieces: list[Buffer]) -> bool | None:
    """Copy *pieces* into one slot and send it; None when the inbox is full or not there."""
    slot = outlet.loan(total(pieces))
    if slot is None:
        return None
    fill(slot, pieces)
    return slot.send() or None


def fill(slot: Slot, pieces: list[Buffer]) -> None:
    """Copy *pieces*, one after the other, into *slot*, which has just room for them."""
    position = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        slot.view[position : position + len(view)] = view
        position += len(view)
