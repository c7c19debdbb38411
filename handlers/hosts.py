"""Which hosts handlers may talk to: Tx posts to URLs and Capture reads from URLs that whoever makes a session names.

A node's `allowed_hosts` holds names, addresses, networks, or `*`. Nothing is looked up: a name matches as it is
written, a network only addresses written as such, so that no name can lead where its address may not.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from handlers.base import Unavailable

EVERY = "*"


def check_host(url: str, allowed: Collection[str] | None, who: str) -> None:
    """Raise Unavailable unless *url* names a host of *allowed*; None allows all."""
    host = urlsplit(url).hostname or ""
    if allowed is not None and not is_allowed(host, allowed):
        raise Unavailable(
            f"{who} may not reach {host or 'no host'} from this node: add it to allowed_hosts in its [node] section"
        )


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Return True when *host*, a name or an address, is in *allowed*."""
    name = host.lower().rstrip(".")
    if not name:
        return False
    if EVERY in allowed or name in allowed:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return any(address in network for network in map(_network, allowed) if network is not None)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network or single address that *text* is, None for a name."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
