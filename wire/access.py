"""Who may make which call: one table for all daemons. Pure.

A call is "METHOD RULE" with the rule as the daemon's routes have it. OPEN calls want no token; a call that the table
lacks is the operators' alone, until somebody decides.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What a token's holder is."""

    CLIENT = "client"  # makes sessions and sends frames
    NODE = "node"  # one agent, its gateway and its handlers
    COORDINATOR = "coordinator"  # orders nodes about
    OPERATOR = "operator"  # a person who runs the system, or a program of theirs


EVERYBODY = frozenset(Role)
OPERATORS = frozenset({Role.OPERATOR})
CLIENTS = frozenset({Role.CLIENT, Role.OPERATOR})
NODES = frozenset({Role.NODE})
READERS = frozenset({Role.CLIENT, Role.NODE, Role.OPERATOR})
COORDINATORS = frozenset({Role.COORDINATOR, Role.OPERATOR})
OPEN: frozenset[Role] = frozenset()  # wants no token

_ALL = {"GET /healthz": OPEN, "GET /readyz": OPEN, "GET /metrics": OPERATORS, "GET /openapi.json": EVERYBODY}

ACCESS: Mapping[str, Mapping[str, frozenset[Role]]] = {
    "coordinator": _ALL
    | {
        "GET /": OPEN,
        "GET /dashboard/<name>": OPEN,
        "POST /login": OPEN,
        "POST /logout": OPEN,
        "GET /live": OPERATORS,
        "GET /nodes": CLIENTS,
        "GET /nodes/<int:node_id>": CLIENTS,
        "POST /nodes/<int:node_id>/heartbeat": NODES,
        "POST /nodes/<int:node_id>/cordon": OPERATORS,
        "POST /nodes/<int:node_id>/uncordon": OPERATORS,
        "POST /nodes/<int:node_id>/drain": OPERATORS,
        "GET /handlers": CLIENTS,
        "GET /services": CLIENTS,
        "GET /algorithms": CLIENTS,
        "POST /sessions": CLIENTS,
        "GET /sessions": CLIENTS,
        "GET /sessions/<int:session_id>": CLIENTS,
        "DELETE /sessions/<int:session_id>": CLIENTS,
        "GET /sessions/<int:session_id>/events": CLIENTS,
        "POST /sessions/<int:session_id>/start": CLIENTS,
        "POST /sessions/<int:session_id>/stop": CLIENTS,
        "POST /sessions/<int:session_id>/reallocate": CLIENTS,
        "GET /sessions/<int:session_id>/frames": CLIENTS,
        "GET /sessions/<int:session_id>/frames/<int:sequence>": CLIENTS,
        "GET /galleries": READERS,
        "GET /galleries/<gallery>": READERS,
        "DELETE /galleries/<gallery>": OPERATORS,
        "DELETE /galleries/<gallery>/<label>": OPERATORS,
        "GET /galleries/<gallery>/<label>/<name>": READERS,
        "PUT /galleries/<gallery>/<label>/<name>": OPERATORS,
        "DELETE /galleries/<gallery>/<label>/<name>": OPERATORS,
        "POST /galleries/<gallery>/<label>/not": OPERATORS,
        "GET /galleries/<gallery>/<label>/not/<name>": READERS,
        "DELETE /galleries/<gallery>/<label>/not/<name>": OPERATORS,
    },
    "collector": _ALL | {"POST /reports": NODES, "POST /": NODES},
    "node": _ALL
    | {
        "GET /handlers": COORDINATORS,
        "GET /sessions": COORDINATORS,
        "GET /sessions/<int:session_id>": COORDINATORS,
        "PUT /sessions/<int:session_id>": COORDINATORS,
        "DELETE /sessions/<int:session_id>": COORDINATORS,
        "POST /sessions/<int:session_id>/start": COORDINATORS,
        "POST /sessions/<int:session_id>/stop": COORDINATORS,
        "POST /sessions/<int:session_id>/handover": COORDINATORS,
        "POST /": COORDINATORS,
    },
    "data port": {  # <key>: unguessable; whoever knows it and may send frames at all may send them there
        "GET /healthz": OPEN,
        "GET /readyz": OPEN,
        "POST /": CLIENTS,  # at a port that a session of the older protocol has opened
        "POST /sessions/<session>/<key>": CLIENTS,
        "GET /sessions/<session>/<key>/results": CLIENTS,
        "GET /sessions/<session>/<key>/results/<sequence>": CLIENTS,
        "GET /sessions/<session>/<key>/video": OPEN,
        "POST /sessions/<session>/handlers/<handler>/inputs/<port>": NODES,
        "POST /sessions/<session>/results": NODES,
        "POST /sessions/<session>/lost": NODES,
    },
}


class Identity(Struct, frozen=True):
    """Who shows a token."""

    name: str  # of the token; empty: the one that all share, or nobody needs one
    roles: frozenset[Role]
    node_id: int | None = None  # the only node that it may speak for; None: any

    @property
    def owner(self) -> str | None:
        """The name under which it owns sessions; None when it sees all of them."""
        return None if Role.OPERATOR in self.roles else self.name


ANYBODY = Identity("", EVERYBODY)


def roles_for(daemon: str, call: str) -> frozenset[Role]:
    """Return who may make *call*; OPEN: everybody, without a token."""
    return ACCESS.get(daemon, _ALL).get(call, OPERATORS)


def refusal(identity: Identity, roles: frozenset[Role]) -> str | None:
    """Return why *identity* may not make a call that is for *roles*, or None."""
    if roles is OPEN or identity.roles & roles:
        return None
    return f"this is for {' or '.join(sorted(roles))}; the token {identity.name!r} is for {_words(identity)}"


def wrong_node(identity: Identity, node_id: int) -> str | None:
    """Return why *identity* may not speak for node *node_id*, or None."""
    if identity.node_id in (None, node_id):
        return None
    return f"the token {identity.name!r} is node {identity.node_id}'s: it cannot speak for node {node_id}"


def _words(identity: Identity) -> str:
    return " and ".join(sorted(identity.roles))
