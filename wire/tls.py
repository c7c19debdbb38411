"""TLS as all ports and all callers have it: version 1.2 or later, host names always checked."""

import ssl
from pathlib import Path

NOT_TLS = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis port speaks https.\n"


class BadCertificate(Exception):
    """A certificate, key or authority cannot be used; the message names the file and why."""


class ServerTls:
    """What a listening port shows. The context stays the same object; `reload` changes what new connections see."""

    def __init__(self, cert: Path, key: Path) -> None:
        """cert: PEM, the host's certificate and those between it and the authority. Raises BadCertificate."""
        self.cert, self.key = cert, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.reload()

    def __repr__(self) -> str:
        return f"<ServerTls {self.cert}>"

    def reload(self) -> None:
        """Read the files again. Raises BadCertificate; what was read before stays then."""
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.cert, self.key)
        _load(self.context, self.cert, self.key)


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise BadCertificate(f"{cert} and {key} are no certificate with its key (PEM): {error.reason}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadCertificate(f"cannot use {cert} and {key}: {reason}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; a daemon cannot ask for its password")


def client_context(ca: Path | None) -> ssl.SSLContext:
    """Return what checks the certificates of others: by *ca* (PEM), or by the system's. Raises BadCertificate."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"{ca} holds no certificate of an authority (PEM): {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
