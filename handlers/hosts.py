"""Which hosts handlers may talk to: Tx posts to URLs and Capture reads from URLs that whoever makes a session names.

A node's `allowed_hosts` holds names, addresses, networks, or `*`. Nothing is looked up: a name matches as it is
written, a network only addresses written as such, so that no name can lead where its address may not.
"""

import ipaddress
import re
from collections.abc import Collection

from handlers.base import Unavailable

EVERY = "*"
URL = re.compile(  # strict: who reads a URL otherwise than we do goes elsewhere, as with http://inner\@allowed/
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?"
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:[/?][!$-\[\]-~]*)?"
)


def host_of(url: str, schemes: Collection[str], who: str) -> str:
    """Return the host that *url* names, as it is written. Raises Unavailable for other schemes and doubtful URLs."""
    found = URL.fullmatch(url)
    if found is None or found["scheme"].lower() not in schemes:
        scheme = url.partition(":")[0][:20]
        raise Unavailable(
            f"{who} needs a plain URL (ASCII, no spaces, backslashes or fragments) that begins with "
            f"{' or '.join(f'{s}://' for s in sorted(schemes))}; this one begins with {scheme!r}"
        )
    return found["host"].strip("[]")


def check_host(url: str, schemes: Collection[str], allowed: Collection[str] | None, who: str) -> None:
    """Raise Unavailable unless *url* is one of *schemes* and names a host of *allowed*; None allows all."""
    host = host_of(url, schemes, who)
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
