"""Which node an address belongs to: the older reporter does not say who it is."""

import logging
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from sqlalchemy import Engine, select

from wire.database import away
from wire.resources import NodeFile
from wire.tables import nodes

logger = logging.getLogger(__name__)


class Directory:
    """Finds nodes by address: those of config/nodes first, then those that the coordinator has heard."""

    def __init__(self, engine: Engine, configured: Mapping[str, int]) -> None:
        self._engine, self._configured = engine, configured

    def find(self, peer: str) -> int | None:
        """Return the node_id of the peer's address, or None. Raises DatabaseAway."""
        found = node_at(self._configured, peer)
        return found if found is not None else node_at(by_address(self._registered()), peer)

    def _registered(self) -> list[tuple[int, str]]:
        with away(self._engine), self._engine.connect() as connection:
            rows = connection.execute(select(nodes.c.node_id, nodes.c.control_url)).all()
        return [(int(node_id), urlsplit(url).hostname or "") for node_id, url in rows]


def configured(files: Iterable[NodeFile]) -> dict[str, int]:
    """Return IP address -> node_id of the nodes in config/nodes; says so when two share an address."""
    pairs = [(file.node_id, file.node_addr) for file in files]
    found = by_address(pairs)
    if len(set(found.values())) < len({node_id for node_id, _ in pairs}):
        logger.warning("several nodes share an address: of them, older reports count as the lowest node_id's")
    return found


def by_address(pairs: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Return IP address -> node_id from (node_id, name or address). Of several at one address the lowest id counts."""
    found: dict[str, int] = {}
    for node_id, name in sorted(pairs):
        for address in _resolve(name):
            found.setdefault(address, node_id)
    return found


def node_at(addresses: Mapping[str, int], peer: str) -> int | None:
    """Return the node_id of the peer's address (IPv4 in IPv6 form counts as IPv4), or None."""
    return addresses.get(_plain(peer))


def _plain(address: str) -> str:
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return str(mapped or ip)


def _resolve(name: str) -> set[str]:
    """Return the IP addresses of a host name or address; empty, with a warning, when it has none."""
    try:
        return {_plain(str(info[4][0])) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        logger.warning("node address %r: %s", name, error)
        return set()
