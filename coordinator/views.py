"""The coordinator's HTTP API (design 4.1): a view parses, calls, renders; nothing else."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from coordinator import present
from coordinator.node_service import Nodes
from coordinator.paging import QUERY, window
from coordinator.placing import Parts
from coordinator.problems import UnknownSession
from coordinator.records import Cordon
from coordinator.requests import Reallocation
from coordinator.service import Sessions
from wire.messages import Heartbeat, HeartbeatAnswer, SessionRequest
from wire.openapi import bodies
from wire.web import decode, encode, identity, speaks_for

DRY_RUN = {"dry_run": {"type": "string", "enum": ["0", "1", "false", "true"], "default": "0"}}


def must_own(sessions: Sessions) -> None:
    """Return when the current request's sender may know of the session that it names. Raises UnknownSession.

    A client that guesses the number of another's session learns nothing, not even that there is one.
    """
    session_id = (request.view_args or {}).get("session_id")
    owner = None if session_id is None else identity().owner
    if session_id is not None and owner is not None and sessions.get(session_id).owner != owner:
        raise UnknownSession(f"there is no session {session_id}")


def make(parts: Parts, sessions: Sessions, nodes: Nodes) -> Blueprint:
    """Return all routes."""
    bp = Blueprint("coordinator", __name__)
    _add_nodes(bp, nodes)
    _add_catalogues(bp, parts)
    _add_sessions(bp, sessions)
    _add_orders(bp, sessions)

    return bp


def _add_nodes(bp: Blueprint, nodes: Nodes) -> None:
    @bp.get("/nodes")
    @bodies(query=QUERY)
    def list_nodes() -> ResponseReturnValue:
        """Return all nodes."""
        after, limit = window()
        return encode({"nodes": [n for n in nodes.all() if int(str(n["node_id"])) > after][:limit]})

    @bp.get("/nodes/<int:node_id>")
    def get_node(node_id: int) -> ResponseReturnValue:
        """Return a node with its state, load and sessions."""
        return encode(nodes.get(node_id))

    @bp.post("/nodes/<int:node_id>/heartbeat")
    @bodies(takes=Heartbeat, gives=HeartbeatAnswer)
    def heartbeat(node_id: int) -> ResponseReturnValue:
        """Take a node's heartbeat and return the sessions that it should hold."""
        speaks_for(node_id)
        return encode(nodes.heard(node_id, decode(Heartbeat, request.get_data())))

    @bp.post("/nodes/<int:node_id>/cordon")
    def cordon(node_id: int) -> ResponseReturnValue:
        """Place no new handlers there."""
        return encode(nodes.cordon(node_id, Cordon.CORDONED))

    @bp.post("/nodes/<int:node_id>/uncordon")
    def uncordon(node_id: int) -> ResponseReturnValue:
        """Undo cordon and drain."""
        return encode(nodes.cordon(node_id, Cordon.OPEN))

    @bp.post("/nodes/<int:node_id>/drain")
    def drain(node_id: int) -> ResponseReturnValue:
        """Place no new handlers there, and move those it has to other nodes."""
        return encode(nodes.cordon(node_id, Cordon.DRAINING))


def _add_catalogues(bp: Blueprint, parts: Parts) -> None:
    @bp.get("/handlers")
    def list_handlers() -> ResponseReturnValue:
        """Return the handler types, and on which nodes each is available."""
        beats = list(parts.registry.alive().values())
        return encode({"handlers": [present.handler_type(spec, beats) for spec in parts.catalogue.types]})

    @bp.get("/services")
    def list_services() -> ResponseReturnValue:
        """Return the services with their variants."""
        return encode({"services": [present.service(spec) for spec in parts.catalogue.services]})

    @bp.get("/algorithms")
    def list_algorithms() -> ResponseReturnValue:
        """Return the allocation algorithms by name."""
        chosen = parts.settings.algorithm
        return encode(
            {
                "algorithms": [
                    {"name": name, "default": name == chosen, "description": (one.__doc__ or "").strip()}
                    for name, one in sorted(parts.algorithms.items())
                ]
            }
        )


def _add_sessions(bp: Blueprint, sessions: Sessions) -> None:
    @bp.post("/sessions")
    @bodies(takes=SessionRequest, status=201, query=DRY_RUN, also={200: "what would be done, with ?dry_run=1"})
    def create() -> ResponseReturnValue:
        """Create a session: place it, prepare its handlers, start it; with ?dry_run=1 only say what would be done."""
        asked = decode(SessionRequest, request.get_data())
        if request.args.get("dry_run", "0") not in ("0", "false", ""):
            return encode(sessions.dry_run(asked))
        record = sessions.create(asked, identity().owner)
        return encode(sessions.show(record)), 201, {"Location": f"/sessions/{record.session_id}"}

    @bp.get("/sessions")
    @bodies(query=QUERY)
    def list_sessions() -> ResponseReturnValue:
        """Return the sessions that are not deleted."""
        after, limit = window()
        return encode({"sessions": [sessions.show(s) for s in sessions.page(after, limit, identity().owner)]})

    @bp.get("/sessions/<int:session_id>")
    def get_session(session_id: int) -> ResponseReturnValue:
        """Return a session with its placement and what was measured."""
        return encode(sessions.detail(sessions.get(session_id)))

    @bp.get("/sessions/<int:session_id>/events")
    @bodies(query=QUERY)
    def list_events(session_id: int) -> ResponseReturnValue:
        """Return a session's history."""
        after, limit = window()
        return encode({"events": sessions.events(session_id, after, limit)})


def _add_orders(bp: Blueprint, sessions: Sessions) -> None:
    @bp.post("/sessions/<int:session_id>/start")
    def start(session_id: int) -> ResponseReturnValue:
        """Start an initialized session."""
        return encode(sessions.show(sessions.start(session_id)))

    @bp.post("/sessions/<int:session_id>/stop")
    def stop(session_id: int) -> ResponseReturnValue:
        """Stop a running session."""
        return encode(sessions.show(sessions.stop(session_id)))

    @bp.post("/sessions/<int:session_id>/reallocate")
    @bodies(takes=Reallocation, optional=True)
    def reallocate(session_id: int) -> ResponseReturnValue:
        """Place a session anew; only what differs moves."""
        asked = decode(Reallocation, request.get_data() or b"{}")
        return encode(sessions.show(sessions.reallocate(session_id, asked)))

    @bp.delete("/sessions/<int:session_id>")
    @bodies(status=204)
    def delete(session_id: int) -> ResponseReturnValue:
        """Delete a session and free its nodes; once more changes nothing."""
        sessions.delete(session_id)
        return "", 204
