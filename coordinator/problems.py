"""The coordinator's own problems."""

import re
from collections.abc import Iterable

from coordinator.admission import Refused
from coordinator.allocation import base
from coordinator.peers import Failure, reasons, refusals
from wire.messages import Graph
from wire.web import Conflict, NotFound, Problem, Unavailable, Unplaceable, Unprocessable

NOT_PREPARED = "/problems/not-prepared"  # an agent's answer when a handler could not prepare


class UnknownSession(NotFound):
    slug, title = "unknown-session", "No such session"


class UnknownNode(NotFound):
    slug, title = "unknown-node", "No such node"


class WrongState(Conflict):
    slug, title = "wrong-state", "Not possible in this state"


class StaleChange(Conflict):
    slug, title = "stale-epoch", "The session changed meanwhile"


class NotAdmitted(Unplaceable):
    slug, title = "not-admitted", "Running sessions come first"


def unplaceable(error: base.Unplaceable) -> Unplaceable:
    """Return the answer 507 with the reason of each node; where promises stand against it with them and what fits."""
    if isinstance(error, Refused):
        return NotAdmitted(error.detail, reasons=error.reasons, would_break=error.breaks, would_fit=error.fits)
    return Unplaceable(error.detail, reasons=error.reasons, handler_id=error.handler_id)


def unprepared(failures: dict[int, Failure], graph: Graph) -> Problem:
    """Return the answer for nodes that did not prepare: 422 when a parameter is wrong, 503 when they are full or
    gave no answer, 507 when they cannot."""
    why = reasons(failures)
    for node_id, refusal in refusals(failures, 422):
        pointer = client_pointer(str(refusal.problem.get("pointer") or ""), graph)
        return Unprocessable(why[node_id], pointer=pointer, reasons=why)
    if set(failures) - _with_status(failures):
        return Unavailable("a node gave no answer", retry_after=2, reasons=why)
    if any(f.problem.get("type") != NOT_PREPARED for _, f in refusals(failures, 503)):
        return Unavailable("a node is not ready", retry_after=2, reasons=why)
    return Unplaceable("a node could not prepare its handlers", reasons=why)


def client_pointer(pointer: str, graph: Graph) -> str:
    """Return the place in a session's request that an agent means by *pointer* into its plan, or the plan's."""
    found = re.fullmatch(r"/graph/handlers/(\d+)(/params.*)", pointer)
    if found is None or int(found[1]) >= len(graph.handlers):
        return pointer or "/params"
    handler_id = graph.handlers[int(found[1])].handler_id
    return found[2].replace("/params", f"/params/{handler_id}", 1)


def _with_status(failures: dict[int, Failure]) -> set[int]:
    return {n for n, f in failures.items() if hasattr(f, "status")}


def known(ids: Iterable[int], all_ids: Iterable[int], pointer: str) -> None:
    """Raise Unprocessable for a node id in *ids* that is not in *all_ids*."""
    allowed = sorted(all_ids)
    for node_id in ids:
        if node_id not in allowed:
            names = ", ".join(map(str, allowed)) or "none yet"
            raise Unprocessable(f"there is no node {node_id}; known: {names}", pointer=pointer)
