"""Service files of the older form: handlers placed by hand, node by node, joined by tx and rx over a port.

A tx and an rx that name the same port are one link here, whatever protocol they name: frames travel over HTTP, and
the gateways carry them. A tx without its rx posts to the address it names; an rx without its tx is an entry.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from wire.messages import Body, Graph, HandlerSpec, Id, Link

TX, RX = 0, 1  # handler types
Port = Annotated[int, Meta(ge=1, le=65535)]

logger = logging.getLogger(__name__)


class TxPlace(Body, frozen=True, kw_only=True):
    """Parameters of the older tx."""

    addr: Annotated[str, Meta(min_length=1, pattern=r"^[\w.:-]+$")] = "127.0.0.1"
    port: Port
    protocol: str = "tcp"  # there "udp" or "tcp"; here HTTP whatever it says


class RxPlace(Body, frozen=True, kw_only=True):
    """Parameters of the older rx."""

    port: Port | None = None
    protocol: str = "tcp"


class OlderGraph(Body, frozen=True, kw_only=True):
    """The `blueprint` of one node."""

    handlers: list[HandlerSpec]
    links: list[Link] = []


class OlderPart(Body, frozen=True, kw_only=True):
    """What one node runs."""

    node_id: Id
    blueprint: OlderGraph


class OlderService(Body, frozen=True, kw_only=True):
    """A service file of the older form."""

    service_id: Id
    service_name: str
    description: str = ""
    template: Annotated[list[OlderPart], Meta(min_length=1)]


def to_graph(parts: list[OlderPart]) -> Graph:
    """Return *parts* as one graph, each handler pinned to its node. Raises msgspec.ValidationError."""
    handlers: dict[int, HandlerSpec] = {}
    links: list[Link] = []
    for part in parts:
        ids = _new_ids(part, handlers)
        for old in part.blueprint.handlers:
            handlers[ids[old.handler_id]] = _replace(old, handler_id=ids[old.handler_id], node_id=part.node_id)
        links += [_moved(link, ids) for link in part.blueprint.links]
    for tx, rx in _pairs(list(handlers.values())):
        links = _joined(links, tx, rx)
        del handlers[tx], handlers[rx]
    return Graph(handlers=[present(handler) for handler in handlers.values()], links=links)


def _replace(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def _new_ids(part: OlderPart, taken: dict[int, HandlerSpec]) -> dict[int, int]:
    """Return old -> new handler id: the same, but where an earlier part has it."""
    own = [handler.handler_id for handler in part.blueprint.handlers]
    doubled = [handler_id for handler_id, count in Counter(own).items() if count > 1]
    if doubled:
        raise msgspec.ValidationError(f"node {part.node_id} has handler {doubled[0]} twice")
    free = max([*taken, *own], default=-1) + 1
    ids = {}
    for handler_id in own:
        ids[handler_id], free = (free, free + 1) if handler_id in taken else (handler_id, free)
    return ids


def _moved(link: Link, ids: dict[int, int]) -> Link:
    for end in (link.source_handler, link.target_handler):
        if end not in ids:
            raise msgspec.ValidationError(f"a link names handler {end}, which is not on that node")
    moved: Link = _replace(link, source_handler=ids[link.source_handler], target_handler=ids[link.target_handler])
    return moved


def _pairs(handlers: list[HandlerSpec]) -> list[tuple[int, int]]:
    """Return (tx, rx) handler ids that name the same port."""
    listening: dict[int, int] = {}
    for handler in handlers:
        port = handler.params.get("port")
        if handler.handler_type == RX and port is not None:
            if port in listening:
                raise msgspec.ValidationError(f"two rx handlers open port {port}")
            listening[port] = handler.handler_id
    sending = [h for h in handlers if h.handler_type == TX and h.params.get("port") in listening]
    ports = Counter(handler.params["port"] for handler in sending)
    for port, count in ports.items():
        if count > 1:
            raise msgspec.ValidationError(f"{count} tx handlers send to port {port}")
    return [(handler.handler_id, listening[handler.params["port"]]) for handler in sending]


def _joined(links: list[Link], tx: int, rx: int) -> list[Link]:
    """Return *links* with the way through *tx* and *rx* made direct."""
    before = [link for link in links if link.target_handler == tx]
    after = [link for link in links if link.source_handler == rx]
    direct = [
        _replace(one, target_handler=other.target_handler, target_input=other.target_input)
        for one in before
        for other in after
    ]
    return [link for link in links if link not in before and link not in after] + direct


def present(handler: HandlerSpec) -> HandlerSpec:
    """Return *handler*, a tx or rx in the parameters that it has here. Raises msgspec.ValidationError.

    A tx that names a port posts to the node that listens there, pixels and boxes as packets, so that they arrive as
    they were sent; the log says so, because the protocol that it names is not the one that is used.
    """
    if handler.handler_type == TX and "port" in handler.params:
        place = _read(handler, TxPlace)
        host = f"[{place.addr}]" if ":" in place.addr else place.addr
        url = f"http://{host}:{place.port}/"
        logger.info("tx %d posts to %s: frames travel over HTTP, not %s", handler.handler_id, url, place.protocol)
        return _with_params(handler, {"url": url, "lossless": True})
    if handler.handler_type == RX:
        _read(handler, RxPlace)
        return _with_params(handler, {})
    return handler


def listening_port(handlers: Iterable[HandlerSpec]) -> int | None:
    """Return the port that the rx of *handlers* opens, or None. Raises msgspec.ValidationError."""
    ports = [(h.handler_id, place) for h in handlers if h.handler_type == RX and (place := _read(h, RxPlace)).port]
    if len(ports) > 1:
        raise msgspec.ValidationError(f"{len(ports)} rx handlers open ports: a node's part has one entry")
    for handler_id, place in ports:
        logger.info("rx %d opens port %d for frames over HTTP, not %s", handler_id, place.port, place.protocol)
    port: int | None = ports[0][1].port if ports else None
    return port


def _read(handler: HandlerSpec, kind: Any) -> Any:
    try:
        return msgspec.convert(handler.params, kind)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"handler {handler.handler_id}: {error}") from error


def _with_params(handler: HandlerSpec, params: dict[str, Any]) -> HandlerSpec:
    changed: HandlerSpec = _replace(handler, params=params)
    return changed
