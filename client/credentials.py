"""What a client shows to others and whom it trusts, from its options and its environment."""

from collections.abc import Mapping
from pathlib import Path

from wire.credential import Credential


def credential_of(environ: Mapping[str, str], token: str | None = None, ca: str | Path | None = None) -> Credential:
    """Return *token* and *ca* where given, else what FACESERVICE_TOKEN and FACESERVICE_CA say."""
    trusted = ca or environ.get("FACESERVICE_CA")
    return Credential(token or environ.get("FACESERVICE_TOKEN") or None, Path(trusted) if trusted else None)
