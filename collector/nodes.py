"""Which node an address belongs to: the older reporter does not say who it is."""

import logging
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address

from wire.resources import NodeFile

logger = logging.getLogger(__name__)


def by_address(nodes: Iterable[NodeFile]) -> dict[str, int]:
    """Return IP address -> node_id. Of several nodes at one address the lowest id counts, and a warning says so."""
    found: dict[str, int] = {}
    for node in sorted(nodes, key=lambda n: n.node_id):
        for address in _resolve(node.node_addr):
            first = found.setdefault(address, node.node_id)
            if first != node.node_id:
                logger.warning("nodes %d and %d are both at %s: older reports count as %d's", first, node.node_id,
                               address, first)  # fmt: skip
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
