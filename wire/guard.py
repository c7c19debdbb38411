"""Who may come in to this process, and what it shows where it goes: taken from the configuration, renewed by SIGHUP.

SIGHUP ─▶ supervisor, arbiter: on to their children
       └▶ daemon: a thread reads the file again ─▶ Guard.take ─▶ (a node) gateway and handlers by their pipes
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from wire.credential import Credential
from wire.faults import SettingsError
from wire.settings import SecuritySettings, Settings, load
from wire.tls import BadCertificate, ServerTls
from wire.tokens import Keyring, Token, digest
from wire.tx_targets import TxTarget

logger = logging.getLogger(__name__)


class Access(Struct, frozen=True):
    """What a daemon's configuration says just now."""

    tokens: list[Token] = []  # that are let in; empty: everybody
    own: str | None = None  # that it shows to others
    tx_targets: list[TxTarget] = []  # what a node's tx handlers show to whom

    def __repr__(self) -> str:
        return f"Access({len(self.tokens)} tokens)"


class Guard:
    """What the threads of a process ask; replaced as a whole, so that each sees the old or the new."""

    def __init__(self, access: Access, ca: Path | None = None, tls: ServerTls | None = None) -> None:
        self.keys = Keyring(access.tokens)
        self.credential = Credential(access.own, ca)
        self.tx_targets = access.tx_targets
        self.tls = tls  # of the listening ports; None: plain HTTP

    def take(self, access: Access) -> None:
        """Go by *access* from now on. Raises BadCertificate when the certificate's files are wrong: then nothing is."""
        if self.tls is not None:
            self.tls.reload()
        self.keys = Keyring(access.tokens)
        self.credential.take(access.own)
        self.tx_targets = access.tx_targets

    @property
    def scheme(self) -> str:
        """http or https, of the listening ports."""
        return "http" if self.tls is None else "https"


def access_of(security: SecuritySettings, own: str | None = None) -> Access:
    """Return what *security* says; own: the daemon's own token, where it is not the one that all share."""
    shared = [] if security.token is None else [Token("", digest(security.token))]
    return Access([*security.tokens, *shared], own if own is not None else security.token)


def make_guard(security: SecuritySettings, own: str | None = None) -> Guard:
    """Return the guard of a daemon. Raises BadCertificate."""
    cert, key = security.tls_cert, security.tls_key
    tls = None if cert is None or key is None else ServerTls(cert, key)
    return Guard(access_of(security, own), security.tls_ca, tls)


def renew(was: Settings, access_in: Callable[[Settings], Access], take: Callable[[Access], None]) -> None:
    """Read the configuration again and take what it says; a wrong one changes nothing, and the log says why.

    The overrides by the environment are those of the start: the process may have forgotten them for safety's sake.
    """
    try:
        access = access_in(load(was.path, was.environ))
        take(access)
    except (SettingsError, BadCertificate) as error:
        logger.error("SIGHUP: nothing is changed, since the configuration is wrong: %s", error)
    else:
        logger.info("SIGHUP: %d tokens from now on", len(access.tokens))


def on_hangup(work: Callable[[], None]) -> None:
    """Have each SIGHUP run *work* in a thread of its own; call it in the main thread."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def run() -> None:
        while os.read(reader, 4096):
            try:
                work()
            except Exception:
                logger.exception("SIGHUP")

    def note(_signum: int, _frame: object) -> None:
        """Only this: a lock that the interrupted code holds could never be had."""
        try:
            os.write(writer, b"!")
        except BlockingIOError:
            return  # enough of them wait

    threading.Thread(target=run, name="hangup", daemon=True).start()
    signal.signal(signal.SIGHUP, note)
