"""Which inbox an address leads to: each receiver opens an inbox of its own, and says so in a link that senders read.

    receiver:  opens "address@3f…", then the link  address ─▶ 3f…   (replaced in one step)
    sender:    reads the link before each packet (1 µs); another name: it leaves the old inbox for the new one

A process that follows a killed one thus shares nothing with it. Under one name it would meet what the dead one left,
and what is missing there: a sender went on into the dead one's queue, and heard that each packet had arrived.
"""

import contextlib
import os
import secrets
from pathlib import Path


class Incarnations:
    """The links of one channel."""

    def __init__(self, folder: Path) -> None:
        """Keep the links in *folder*, which is made. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = str(folder)

    def path(self, address: str) -> str:
        """Return where the link of *address* is."""
        return f"{self._folder}/{address.replace('/', '.')}"

    def announce(self, address: str, name: str) -> None:
        """Have senders go to *name* from now on. Raises OSError."""
        path = self.path(address)
        fresh = f"{path}.{name}"
        os.symlink(name, fresh)
        os.replace(fresh, path)

    def withdraw(self, address: str, name: str) -> None:
        """Have senders go nowhere, unless *name* has a successor."""
        path = self.path(address)
        if current(path) == name:
            with contextlib.suppress(OSError):  # the folder is gone: the agent ends
                os.unlink(path)


def current(path: str) -> str | None:
    """Return the incarnation that the link at *path* names, None when there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def new_name() -> str:
    """Return a name that no other incarnation has."""
    return secrets.token_hex(6)
