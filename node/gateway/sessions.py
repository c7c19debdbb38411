"""The sessions that a gateway holds: who may send to which inbox, and the entries."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node.gateway.entry import Entry
from node.processes.control import ChildSettings
from node.processes.progress import last_done
from node.reporting.recorder import Recorder
from node.sessions import leaving, senders
from node.transport.channel import Channel, Outlet
from node.transport.forward import Forwarder
from wire.credential import Credential
from wire.graph import GraphError, Topology
from wire.messages import ResultSpec, SessionPlan


@dataclass
class Held:
    """One session on this gateway."""

    session_id: int
    plan: SessionPlan
    topology: Topology
    state: str
    sender: Forwarder
    entry: Entry | None
    makes_pictures: bool = False  # some exit gives an Image or Encoded
    leaving: frozenset[int] = frozenset()  # handlers that are here for frames of older epochs only
    senders: frozenset[int] | None = None  # nodes whose packets are taken; None: any node's

    def here(self, handler_id: int) -> bool:
        """Return True while a handler of this node takes packets."""
        return handler_id in self.plan.local or handler_id in self.leaving

    def takes_from(self, node_id: int | None) -> bool:
        """Return whether packets of that node are taken; None: of whoever shows a token that is not one node's."""
        return node_id is None or self.senders is None or node_id in self.senders

    def outlet(self, handler_id: int) -> Outlet:
        """Return the sending end of a local handler's inbox."""
        return self.sender.outlet(self.session_id, handler_id, self.topology.inputs(handler_id))


class Sessions:
    """session_id -> Held; attached and detached by the control thread, read by all."""

    def __init__(
        self,
        settings: ChildSettings,
        channel: Channel,
        recorder: Recorder,
        closing: threading.Event,
        credential: Credential | None = None,
    ) -> None:
        """credential: what is shown to other nodes."""
        self._settings = settings
        self._credential = credential
        self._channel = channel
        self._recorder = recorder
        self._closing = closing
        self._held: dict[int, Held] = {}
        self.draining = False

    def get(self, session_id: int) -> Held | None:
        """Return the session, or None."""
        return self._held.get(session_id)

    def last_done(self, session_id: int, handler_id: int) -> int | None:
        """Return the sequence that a handler here finished last, or None."""
        return last_done(self._settings.run_path, session_id, handler_id)

    def all(self) -> list[Held]:
        """Return every session held."""
        return list(self._held.values())

    def attach(self, session_id: int, plan: SessionPlan, state: str) -> None:
        """Hold a session, or change it to *plan*. Raises GraphError, KeyError, OSError; a new one is not held then."""
        known = session_id in self._held
        try:
            self._attach(session_id, plan, state)
        except (GraphError, KeyError, OSError):
            if not known:
                self._held.pop(session_id, None)
            raise

    def _attach(self, session_id: int, plan: SessionPlan, state: str) -> None:
        topology = Topology(plan.graph, self._ports)
        held = self._held.get(session_id)
        if held is None:
            held = self._held[session_id] = self._hold(session_id, plan, topology, state)
        held.senders = senders(held.senders, plan)
        held.leaving = leaving(held.plan, held.leaving, plan)
        held.plan, held.topology, held.state = plan, topology, state
        held.makes_pictures = any(self._is_picture(topology, e) for e in plan.results or topology.exits)
        self._set_entry(held)

    def _hold(self, session_id: int, plan: SessionPlan, topology: Topology, state: str) -> Held:
        """Make a session's record; its sender goes by the plan that is in it, also when it is detached meanwhile."""
        held = Held(session_id, plan, topology, state, self._new_sender(lambda: held.plan), None)
        return held

    def _is_picture(self, topology: Topology, exit_: ResultSpec) -> bool:
        names = self._settings.output_types.get(topology.handlers[exit_.handler_id].handler_type, [])
        return exit_.output < len(names) and names[exit_.output] in ("Image", "Encoded", "any")

    def _set_entry(self, held: Held) -> None:
        here = held.plan.entry.node_id == self._settings.node_id
        if here and held.entry is None:
            path = Path(self._settings.run_path) / f"books-{held.session_id}"
            held.entry = Entry(held.session_id, held.plan, self._ports, self._new_sender, path)
        elif here and held.entry is not None:
            held.entry.update(held.plan)
        elif held.entry is not None:
            held.entry.close(remove=True)
            held.entry = None

    def set_state(self, session_id: int, state: str) -> None:
        """Start or stop taking frames."""
        held = self._held.get(session_id)
        if held is not None:
            held.state = state

    def detach(self, session_id: int) -> None:
        """Forget a session."""
        held = self._held.pop(session_id, None)
        if held is None:
            return
        if held.entry is not None:
            held.entry.close(remove=True)
        held.sender.close()

    @property
    def _ports(self) -> Mapping[int, tuple[int, int]]:
        return self._settings.port_counts

    def _new_sender(self, plan: Callable[[], SessionPlan]) -> Forwarder:
        s = self._settings
        return Forwarder(self._channel, s.node_id, self._recorder, self._credential, self._closing, plan, s.run_path)
