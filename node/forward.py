"""Packets leave a process: into an inbox of this node, or over a kept connection to another node's gateway.

A full inbox or a 503 makes the sender wait: back-pressure travels upstream. A node that is away is tried again until
the plan changes; the entry sends the frame again to the new place.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from node.addresses import GATEWAY, GATEWAY_DEPTH, handler_address, handler_depth, input_path, results_path
from node.balance import Balance
from node.channel import Channel, Outlet, Slot
from node.hop import HopClient
from node.http11 import Disconnected
from node.progress import last_done
from node.recorder import Recorder
from node.routing import Target
from wire.messages import Route, SessionPlan
from wire.packet import Buffer, total

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.002, 0.2  # between attempts
DONE_HEADER = "x-done"  # of a 202 from a node with a replica: the sequence that the handler there finished last
GIVE_UP_S = 20.0  # after so long without success a packet is let go; the entry sends its frame again


class Forwarder:
    """Sends for one thread. `closing` is set when the process must end."""

    def __init__(
        self,
        channel: Channel,
        node_id: int,
        recorder: Recorder,
        token: str | None,
        closing: threading.Event,
        plan: Callable[[], SessionPlan],
        run_path: str = "",
    ) -> None:
        """run_path: the agent's folder, where the handlers of this node say how far they are."""
        self._channel = channel
        self._node_id = node_id
        self._recorder = recorder
        self._token = token
        self._closing = closing
        self._plan = plan
        self._outlets: dict[str, Outlet] = {}
        self._hops: dict[str, HopClient] = {}
        self._opening = threading.Lock()
        self._run_path = run_path
        self._balance = Balance()

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
        needed: Callable[[], bool] = lambda: True,
    ) -> int | None:
        """Send a frame to one of the replicas of *target*; to another when that one's node takes no connection.

        *pieces_for*: the packet as it goes by a route. Returns its bytes, None when it had to be let go.
        """
        while True:
            route = self.route(session_id, target, sequence)
            pieces = pieces_for(route)
            where = (session_id, target.handler_id, target.port)
            elsewhere = partial(self._other, target, route)
            sent = self.to_handler(route, where, target.inputs, pieces, needed, elsewhere)
            if sent:
                return total(pieces)
            if not needed() or not elsewhere() or self._closing.is_set():
                return None

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
        needed: Callable[[], bool] = lambda: True,
        elsewhere: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Send a packet to target = (session, handler, input) on the route's node; *inputs* of that handler.

        Returns False when it had to be let go, was not *needed* any more, or had better go *elsewhere*.
        """
        session_id, handler_id, port = target
        if route.node_id == self._node_id:
            return self._persist(lambda: put(self.outlet(session_id, handler_id, inputs), pieces), needed)
        path = input_path(session_id, handler_id, port)
        return self._to_node(
            route.url,
            route.node_id,
            path,
            pieces,
            lambda: needed() and not elsewhere(),
            lambda last: self._balance.done(handler_id, route.node_id, last),
        )

    def to_entry(self, plan: SessionPlan, session_id: int, pieces: list[Buffer]) -> bool:
        """Send a result packet to the entry's gateway."""
        if plan.entry.node_id == self._node_id:
            return self._persist(lambda: put(self._outlet(GATEWAY, GATEWAY_DEPTH), pieces))
        return self._to_node(plan.entry.url, plan.entry.node_id, results_path(session_id), pieces)

    def outlet(self, session_id: int, handler_id: int, inputs: int) -> Outlet:
        """Return the sending end of a handler's inbox on this node."""
        plan = self._plan()
        return self._outlet(handler_address(session_id, handler_id, plan.window), handler_depth(plan, inputs))

    def _outlet(self, address: str, depth: int) -> Outlet:
        outlet = self._outlets.get(address)
        if outlet is None:
            with self._opening:
                outlet = self._outlets.get(address) or self._channel.outlet(address, depth)
                self._outlets[address] = outlet
        return outlet

    def _to_node(
        self,
        url: str,
        node_id: int,
        path: str,
        pieces: list[Buffer],
        needed: Callable[[], bool] = lambda: True,
        done: Callable[[int], None] = lambda _: None,
    ) -> bool:
        hop = self._hops.get(url)
        if hop is None:
            hop = self._hops[url] = HopClient(url, self._token)
        return self._persist(lambda: self._try_hop(hop, node_id, path, pieces, done), needed)

    def _try_hop(
        self, hop: HopClient, node_id: int, path: str, pieces: list[Buffer], done: Callable[[int], None]
    ) -> bool | None:
        """Return True when sent, None to try again, False when the other side will never take it."""
        start = time.monotonic()
        try:
            status, headers = hop.post(path, pieces)
        except Disconnected as error:
            log.debug("hop to node %s: %s", node_id, error)
            self._recorder.unreachable(node_id)
            self._balance.away(node_id, time.monotonic())
            return None
        last = headers.get(DONE_HEADER, "")
        if last.isascii() and last.isdigit():
            done(int(last))
        if status == 202:
            self._recorder.sent(node_id, total(pieces), time.monotonic() - start)
            return True
        if status in (404, 503):  # not attached yet, or full
            return None
        if status != 409:
            log.warning("node %s refused a packet for %s with %s", node_id, path, status)
        return False

    def _persist(self, attempt: Callable[[], bool | None], needed: Callable[[], bool] = lambda: True) -> bool:
        """Repeat *attempt* while it returns None, its epoch is welcome and it is *needed*.

        A planned move leaves the older epoch welcome: what waits for a full inbox goes on waiting for it.
        """
        wait, epoch, deadline = FIRST_WAIT_S, self._plan().epoch, time.monotonic() + GIVE_UP_S
        while (done := attempt()) is None:
            over = self._plan().accept_from > epoch or not needed() or time.monotonic() > deadline
            if over or self._closing.wait(wait):
                return False
            wait = min(2 * wait, LONGEST_WAIT_S)
        return done

    def close(self) -> None:
        """Close connections and outlets."""
        for hop in self._hops.values():
            hop.close()
        for outlet in self._outlets.values():
            outlet.close()


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
