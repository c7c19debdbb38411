"""Where the dashboard's figures come from: memory; only a session's history is read from the database."""

import contextlib
from typing import Any

from coordinator.dashboard.rows import Rows, rows
from coordinator.placing import Parts
from coordinator.problems import UnknownSession
from coordinator.service import Sessions
from wire.database import DatabaseAway

EVENTS = 1000  # of a session, at most


def now(parts: Parts) -> Rows:
    """Return the rows of this moment."""
    registry = parts.registry
    heard = [(record, registry.state(record.node_id)) for record in registry.records()]
    return rows(heard, parts.catalogue.nodes, parts.held.all())


def detail(parts: Parts, sessions: Sessions, session_id: int) -> dict[str, Any] | None:
    """Return a session as GET /sessions/<id> has it, with its graph and its history; None when there is none.

    The history is null while the database is away.
    """
    try:
        record = sessions.get(session_id)
        shown = sessions.detail(record)
    except (UnknownSession, DatabaseAway):
        return None
    events = None
    with contextlib.suppress(DatabaseAway):
        events = sessions.events(session_id, 0, EVENTS)
    objective = record.request.objective
    return {**shown, "graph": record.plan.graph, "events": events, "objective": objective}
