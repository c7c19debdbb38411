"""What a node's tx handlers show to whom they post to: as the file of [node] tx_targets names it.

[https://other.lan:9100]        scheme, host and port, as the handler's `url` begins; paths do not matter
token_file = run/other.token    a file (mode 0600) with the token that is sent there, and nowhere else
tls_ca = run/other-ca.pem       PEM: the authority that its certificate must come from; the system's without

Sessions name URLs, never tokens: who makes a session reaches with a token only what the node's operator has named.
"""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from wire import kinds
from wire.faults import Fault, SettingsError, guess
from wire.ini import read_file
from wire.secret_file import BadSecret, read_secret

KEYS = ("token_file", "tls_ca")
PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


class TxTarget(Struct, frozen=True):
    """One place that tx handlers post to."""

    url: str  # scheme://host[:port]
    token: str
    token_file: str
    ca: str | None = None  # PEM file

    def __repr__(self) -> str:
        return f"TxTarget({self.url!r})"


def find(targets: Iterable[TxTarget], url: str) -> TxTarget | None:
    """Return the target whose scheme, host and port are those of *url*, or None."""
    wanted = origin(url)
    return next((target for target in targets if wanted is not None and origin(target.url) == wanted), None)


def origin(url: str) -> Origin | None:
    """Return scheme, host (lower case) and port of *url*, None when it is no http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.lower(), PORTS[parts.scheme] if port is None else port


def read_targets(path: Path, root: Path) -> list[TxTarget]:
    """Return the targets that the file *path* names. Raises SettingsError with all that is wrong with it.

    root: where relative paths start.
    """
    parser, faults, found = read_file(path), list[Fault](), list[TxTarget]()
    for name in parser.sections():
        section, before = parser[name], len(faults)
        for key in section.keys() - set(KEYS):
            faults.append(Fault(path, "unknown key", name, key, ", ".join(KEYS), guess(key, KEYS)))
        if not _is_origin(name):
            faults.append(Fault(path, "is no place to post to", name, "", "http(s)://HOST:PORT without a path"))
        elif find(found, name) is not None:
            faults.append(Fault(path, "is named twice", name))
        token, file, ca = "", section.get("token_file", "").strip(), section.get("tls_ca", "").strip()
        try:
            token = read_secret(root / file) if file else ""
        except BadSecret as error:
            faults.append(Fault(path, str(error), name, "token_file"))
        if not file:
            faults.append(Fault(path, "is missing", name, "token_file"))
        if ca and not (root / ca).is_file():
            faults.append(Fault(path, f"there is no file {root / ca}", name, "tls_ca"))
        if len(faults) == before:
            found.append(TxTarget(name, token, str(root / file), str(root / ca) if ca else None))
    if faults:
        raise SettingsError(faults)
    return found


def _is_origin(text: str) -> bool:
    try:
        found: list[str] = kinds.URLS.parse(text, Path())
    except ValueError:
        return False
    return found == [text]
