"""A word to the entry's gateway on another node, said until it is heard."""

import logging
import threading
import time
from collections.abc import Callable

from node.transport.hop import HopClient
from node.transport.http11 import Disconnected
from wire.credential import Credential

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0  # between attempts
GIVE_UP_S = 30.0  # the entry has looked after its frames itself by then


def tell(
    url: Callable[[], str | None], path: str, body: bytes, credential: Credential | None, closing: threading.Event
) -> bool:
    """Post *body* (JSON) to *path* until it is answered with 202; returns whether it was.

    url: of the entry's data port, asked before each attempt, since the entry may move; None: nobody needs to know.
    """
    wait, deadline = FIRST_WAIT_S, time.monotonic() + GIVE_UP_S
    while (where := url()) is not None and time.monotonic() < deadline:
        hop = HopClient(where, credential)
        try:
            status = hop.post(path, [body], "application/json").status
            if status == 202:
                return True
            log.info("the entry at %s answers %s with %s", where, path, status)  # it has just been started, too
        except Disconnected as error:
            log.info("cannot tell the entry at %s: %s", where, error)
        finally:
            hop.close()
        if closing.wait(wait):
            break
        wait = min(2 * wait, LONGEST_WAIT_S)
    return False
