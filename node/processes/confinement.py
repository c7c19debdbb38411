"""Putting a child process behind its fence: at its beginning, before any code of a handler and any second thread.

own temporary folder ─▶ limits of memory and files ─▶ privileges given up ─▶ fence, where the kernel has one
"""

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from node.processes import landlock, limits, privileges
from node.processes.control import ChildSettings
from node.processes.fence import SHM, readable

log = logging.getLogger(__name__)

OOM_SCORE = 500  # of 1000: when the machine has no memory left, handlers go before agents and daemons


def describe() -> str:
    """Return in one line what this kernel keeps handlers from."""
    found = landlock.version()
    if not found:
        return "handlers are not kept from the files of this user: the kernel has no Landlock (5.13 and later have)"
    signals = "" if found >= landlock.SIGNALS_SINCE else "; signals are not, since it is older than 6.12"
    return f"handlers are kept from files that are not theirs, by Landlock {found}{signals}"


def confine_handler(settings: ChildSettings, name: str, limit_mb: int, *own_files: Path) -> None:
    """Confine the process of a handler called *name* (of its temporary folder), which may use *limit_mb*; 0: any.

    own_files: that it writes to, beside those of all handlers. Raises OSError.
    """
    own = _own_folder(Path(settings.run_path), name)
    limits.set_limits(limit_mb, settings.max_frame_bytes)
    _go_first()
    fence = settings.fence
    if fence is None:
        return
    privileges.give_up()
    if landlock.version():
        landlock.restrict([*fence.writable, own, *map(str, own_files)], readable(fence))


def confine_gateway(settings: ChildSettings) -> None:
    """Confine the gateway: it runs no handler's code, but reads what strangers send."""
    if settings.fence is None:
        return
    privileges.give_up()
    if landlock.version():
        landlock.restrict([settings.run_path, SHM], None)


def _own_folder(run_path: Path, name: str) -> str:
    """Make the folder that temporary files go to from now on."""
    own = run_path / "tmp" / name
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)
    return str(own)


def _go_first() -> None:
    with contextlib.suppress(OSError):  # no /proc, or not allowed: then it is the kernel's choice
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
