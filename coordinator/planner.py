"""From a decision to what each node is told. Pure."""

from collections.abc import Mapping

import msgspec

from coordinator.allocation.base import Decision
from coordinator.records import Explained, NodeAddress, Planned, Prediction, SessionRecord
from coordinator.sessions import WANTED
from wire.messages import Entry, NodeSession, Route, SessionPlan, WantedSession


def plan(decision: Decision, algorithm: str, nodes: Mapping[int, NodeAddress]) -> Planned:
    """Return *decision* as it is kept. nodes: addresses of at least the nodes used."""
    topology, placement = decision.variant.topology, decision.placement
    return Planned(
        graph=topology.graph,
        results=topology.exits,
        entry_handler=topology.entry,
        entry_node=placement.entry_node,
        placement={h: list(placement.nodes[h]) for h in topology.order},
        nodes={n: nodes[n] for n in sorted(placement.used())},
        algorithm=algorithm,
        predicted=msgspec.convert(decision.predicted, Prediction, from_attributes=True),
        explanation=[
            Explained(
                handler_id=e.handler_id,
                handler_type=e.handler_type,
                name=e.name,
                node_ids=list(e.nodes),
                why=e.why,
                others=dict(e.others),
            )
            for e in decision.explanation
        ],
        passed_over=dict(decision.passed_over),
    )


def node_plans(session: SessionRecord) -> dict[int, SessionPlan]:
    """Return the plan of every node that holds a part of *session* (the entry node too, with no handler)."""
    return {n: node_plan(session, n) for n in sorted(session.plan.used())}


def node_plan(session: SessionRecord, node_id: int) -> SessionPlan:
    """Return what *node_id* must know: its handlers, where all others are, the entry, the exits."""
    kept = session.plan
    return SessionPlan(
        epoch=session.epoch,
        accept_from=session.accept_from,
        graph=kept.graph,
        local=[h for h, nodes in kept.placement.items() if node_id in nodes],
        routes={h: [Route(node_id=n, url=kept.nodes[n].data_url) for n in ns] for h, ns in kept.placement.items()},
        entry=Entry(
            node_id=kept.entry_node,
            url=kept.nodes[kept.entry_node].data_url,
            key=session.session_key,
            handler_id=kept.entry_handler,
            first_sequence=kept.first_sequence,
        ),
        results=kept.results,
        delivery=session.request.delivery,
        window=session.request.window,
        max_latency_ms=None if session.request.objective is None else session.request.objective.max_latency_ms,
    )


def wanted(session: SessionRecord, node_id: int, reported: NodeSession | None) -> WantedSession:
    """Return what a heartbeat is answered about a held session; the plan only when the node has another epoch."""
    current = reported is not None and reported.epoch == session.epoch
    return WantedSession(
        session_id=session.session_id,
        epoch=session.epoch,
        state=WANTED[session.state],
        plan=None if current else node_plan(session, node_id),
    )


def session_url(session: SessionRecord) -> str:
    """Return where the client posts its frames: on the entry node's data port."""
    base = session.plan.nodes[session.plan.entry_node].data_url.rstrip("/")
    return f"{base}/sessions/{session.session_id}/{session.session_key}"
