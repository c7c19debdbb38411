"""What a process shows to others, and by what it knows them: both may change while it runs."""

import ssl
from pathlib import Path

from wire import auth
from wire.tls import client_context


class Credential:
    """One per process, shared by all that calls others."""

    def __init__(self, token: str | None = None, ca: Path | None = None) -> None:
        """ca: PEM of the authority that others' certificates must come from; None: those that the system knows."""
        self.token = token
        self.ca = ca
        self.version = 0  # counts the changes: who keeps a copy looks at it
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"<Credential {'with' if self.token else 'without'} a token, ca {self.ca}>"

    def take(self, token: str | None) -> None:
        """Show *token* from now on, and read the authority again for new connections."""
        self.token, self._context = token, None
        self.version += 1

    def header(self) -> dict[str, str]:
        """Return the header to send."""
        return auth.header(self.token)

    def bundle(self) -> str | bool:
        """Return the file of those to trust, as requests wants it."""
        return str(self.ca) if self.ca is not None else ssl.get_default_verify_paths().cafile or True

    def context(self) -> ssl.SSLContext:
        """Return what checks a peer's certificate and name. Raises BadCertificate."""
        context = self._context
        if context is None:
            context = self._context = client_context(self.ca)
        return context
