"""The control API of a node (design 4.2): a view parses, calls, renders; nothing else."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from node import older
from node.agent import Agent
from node.catalogue import Catalogue
from node.processes.supervision import ChildState
from node.sessions import (
    BadPlan,
    InvalidTransition,
    NotPrepared,
    SessionError,
    SessionInUse,
    StaleEpoch,
    UnknownSession,
)
from wire.guard import Guard
from wire.messages import NodeSession, SessionPlan
from wire.openapi import bodies
from wire.web import Conflict, NotFound, Problem, Unavailable, Unprocessable, create_app, decode, encode


class NoSession(NotFound):
    status, slug, title = 404, "unknown-session", "No such session"


class OldEpoch(Conflict):
    status, slug, title = 409, "stale-epoch", "The plan is older than the one held"


class WrongState(Conflict):
    status, slug, title = 409, "wrong-state", "Not possible in this state"


class InUse(Conflict):
    status, slug, title = 409, "session-in-use", "The session was made in another way"


class CannotPrepare(Unavailable):
    status, slug, title = 503, "not-prepared", "A handler of this node is not ready"


def as_problem(error: SessionError) -> Problem:
    """Return the answer for *error*."""
    if isinstance(error, BadPlan):
        return Unprocessable(str(error), pointer=error.pointer)
    kinds: dict[type[SessionError], Callable[[str], Problem]] = {
        UnknownSession: NoSession,
        StaleEpoch: OldEpoch,
        InvalidTransition: WrongState,
        SessionInUse: InUse,
        NotPrepared: CannotPrepare,
    }
    return kinds[type(error)](str(error))


def make_app(agent: Agent, catalogue: Catalogue, host: older.Host, guard: Guard) -> Flask:
    """Return the app that the agent serves on its control port."""

    def ready() -> tuple[bool, dict[str, Any]]:
        state = agent.gateway.state
        return state is ChildState.RUNNING, {"gateway": str(state), "sessions": len(agent.sessions())}

    app = create_app("node", guard=guard, ready=ready)

    @app.errorhandler(SessionError)
    def session_error(error: SessionError) -> ResponseReturnValue:
        return app.handle_user_exception(as_problem(error))

    _add_sessions(app, agent)

    @app.get("/handlers")
    def handlers() -> Response:
        """Return the handler types of this node, and why some cannot run."""
        catalogue.refresh()
        return encode({"handlers": catalogue.entries()})

    @app.post("/")
    def older_protocol() -> Response:
        """Answer the older FaceServer protocol: always 200."""
        return encode(older.answer(agent, host, request.get_data()))

    return app


def _add_sessions(app: Flask, agent: Agent) -> None:
    @app.get("/sessions")
    def sessions() -> Response:
        """Return the sessions that this node holds."""
        return encode({"sessions": agent.sessions()})

    @app.get("/sessions/<int:session_id>")
    @bodies(gives=NodeSession)
    def session(session_id: int) -> Response:
        """Return one session with its handlers and books."""
        return encode(agent.session(session_id))

    @app.put("/sessions/<int:session_id>")
    @bodies(takes=SessionPlan, gives=NodeSession)
    def put(session_id: int) -> Response:
        """Bring the session to the plan in the body; idempotent."""
        return encode(agent.put(session_id, decode(SessionPlan, request.get_data())))

    @app.post("/sessions/<int:session_id>/start")
    @bodies(gives=NodeSession)
    def start(session_id: int) -> Response:
        """Let frames in."""
        return encode(agent.start_session(session_id))

    @app.post("/sessions/<int:session_id>/stop")
    @bodies(gives=NodeSession)
    def stop(session_id: int) -> Response:
        """Let no more frames in."""
        return encode(agent.stop_session(session_id))

    @app.post("/sessions/<int:session_id>/handover")
    @bodies(gives=NodeSession)
    def hand_over(session_id: int) -> Response:
        """Finish what is in flight and take no more frames: another node becomes the entry."""
        return encode(agent.hand_over(session_id))

    @app.delete("/sessions/<int:session_id>")
    @bodies(status=204)
    def delete(session_id: int) -> ResponseReturnValue:
        """End the session; idempotent."""
        agent.delete(session_id)
        return "", 204
