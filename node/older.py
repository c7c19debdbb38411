"""The older FaceServer protocol on the control port: `POST /` with init, start, stop, delete.

An older session is a graph of its own on this node, entry included; it has no coordinator and never moves. Its rx opens
a port of this node, where POST / takes frames like a session URL does; the tx of another node's part posts to it.

    node 1: capture ─▶ encode ─▶ tx ──POST http://node 2:PORT/──▶ rx ─▶ decode ─▶ ...   (a session on each node)

Answers are {"result": "Succeeded"} or {"result": "Failed", "reason": ...}.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from node.sessions import BadPlan, InvalidTransition, SessionError, UnknownSession
from wire.graph import GraphError, Topology
from wire.messages import Entry, Graph, Id, NodeSession, Route, Running, SessionPlan
from wire.older import OlderGraph, listening_port, present

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]


class Sessions(Protocol):
    """The part of the agent that this protocol uses."""

    def put(self, session_id: int, plan: SessionPlan, *, older: bool, entry_port: int | None) -> NodeSession: ...

    def start_session(self, session_id: int) -> NodeSession: ...

    def stop_session(self, session_id: int) -> NodeSession: ...

    def session(self, session_id: int) -> NodeSession: ...

    def delete(self, session_id: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Host:
    """Where this node is, and the ports of its handler types."""

    node_id: int
    data_url: str
    ports: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What this node shall run."""

    graph: Graph
    entry_port: int | None  # where its rx takes frames


class Refused(Exception):
    """The answer is Failed; the message is the reason."""


def answer(sessions: Sessions, host: Host, data: bytes) -> dict[str, str]:
    """Carry out the request in *data* and return the answer."""
    try:
        _carry_out(sessions, host, _read(data))
    except (Refused, SessionError) as error:
        logger.info("older protocol: %s", error)
        return {"result": "Failed", "reason": str(error)}
    return {"result": "Succeeded"}


def _read(data: bytes) -> Body:
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"no valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused("the body is no JSON object")
    return body


def _carry_out(sessions: Sessions, host: Host, body: Body) -> None:
    action = _member(body, "action")
    actions: dict[str, Callable[[int], object]] = {
        "init": lambda session_id: _init(sessions, host, session_id, body),
        "start": sessions.start_session,
        "stop": sessions.stop_session,
        "delete": lambda session_id: _delete(sessions, session_id),
    }
    if not isinstance(action, str) or action not in actions:
        raise Refused(f"action must be one of: {', '.join(actions)}")
    try:
        session_id = msgspec.convert(_member(body, "session_id"), Id)
    except msgspec.ValidationError as error:
        raise Refused(f"session_id: {error}") from error
    actions[action](session_id)


def _member(body: Body, name: str) -> Any:
    if name not in body:
        raise Refused(f"missing key {name!r}")
    return body[name]


def _init(sessions: Sessions, host: Host, session_id: int, body: Body) -> None:
    blueprint = read(_member(body, "blueprint"))
    plan = plan_of(blueprint.graph, host)
    try:
        sessions.session(session_id)
    except UnknownSession:
        _put(sessions, session_id, plan, blueprint.entry_port)
    else:
        raise Refused(f"session {session_id} is in use")


def _put(sessions: Sessions, session_id: int, plan: SessionPlan, entry_port: int | None) -> None:
    try:
        sessions.put(session_id, plan, older=True, entry_port=entry_port)
    except SessionError:
        sessions.delete(session_id)  # this protocol knows no half-made session
        raise


def _delete(sessions: Sessions, session_id: int) -> None:
    if sessions.session(session_id).state is Running.RUNNING:
        raise InvalidTransition("delete while running")
    sessions.delete(session_id)


def read(blueprint: Any) -> Blueprint:
    """Return *blueprint* with its tx and rx as they are here. Raises Refused."""
    try:
        older = msgspec.convert(blueprint, OlderGraph)
        graph = Graph(handlers=[present(h) for h in older.handlers], links=older.links)
        return Blueprint(graph, listening_port(older.handlers))
    except (msgspec.ValidationError, RecursionError) as error:
        raise Refused(f"blueprint: {error}") from error


def plan_of(graph: Graph, host: Host) -> SessionPlan:
    """Return the plan that runs all of *graph* on this node. Raises BadPlan."""
    try:
        topology = Topology(graph, host.ports)
    except GraphError as error:
        raise BadPlan(str(error), "/blueprint") from error
    here = Route(node_id=host.node_id, url=host.data_url)
    return SessionPlan(
        epoch=1,
        accept_from=1,
        graph=graph,
        local=list(topology.handlers),
        routes={h: [here] for h in topology.handlers},
        entry=Entry(node_id=host.node_id, url=host.data_url, key=secrets.token_urlsafe(24), handler_id=topology.entry),
        results=topology.exits,
    )
