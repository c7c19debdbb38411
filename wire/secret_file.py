"""A file that holds one secret: a line of text that its owner alone may read."""

import stat
from pathlib import Path


class BadSecret(ValueError):
    """The file holds no secret that may be used; the message says why, after the file's name."""


def read_secret(path: Path) -> str:
    """Return the line in *path*. Raises BadSecret."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise BadSecret(f"cannot read {path}: {reason}") from error
    if mode & stat.S_IROTH:
        raise BadSecret(f"{path} can be read by everybody (chmod 600 it)")
    if not text or "\n" in text:
        raise BadSecret(f"{path} does not hold one line")
    return text
