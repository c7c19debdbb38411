"""Which files handlers may read by a name that whoever makes a session gives: those in the node's own folders.

Models and galleries are known by names of their own (`handlers.manifest`, `wire.galleries`), never by a path. What is
left is the `source` of a capture: it must lie in one of the node's `source_path`, after all links are followed.
"""

import os
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from handlers.base import Unavailable

LONGEST, WILD = 1024, 16  # characters of a name, and of those that match others: 5,000 "[" take minutes to look for


def files_of(name: str, folders: Sequence[Path] | None) -> list[Path]:
    """Return the file *name*, or those that match it as a pattern (`*`, `?`, `[...]`), in order; folders None: all.

    Raises Unavailable: nothing is there, or it lies elsewhere, which is said without looking whether it exists.
    """
    if "\0" in name or not _is_utf8(name):
        raise Unavailable("source is no name of a file: it has a zero byte or half a character")
    if len(name) > LONGEST or sum(map(name.count, "*?[")) > WILD:
        raise Unavailable(f"source is no name of a file: over {LONGEST} characters, or {WILD} of * ? [")
    if (folders is None or is_inside(name, folders)) and os.path.isfile(name):
        return [Path(name)]
    if not has_magic(name):
        _must_be_inside(name, folders)
        raise Unavailable(f"source {name!r}: no such file")
    fixed = _before_magic(name)
    if ".." in Path(name).parts[len(Path(fixed).parts) :]:
        raise Unavailable(f"source {name!r}: a pattern may not go up by '..'")
    _must_be_inside(fixed, folders)
    found = [Path(path) for path in sorted(glob(name, recursive=True)) if os.path.isfile(path)]
    for path in found:
        _must_be_inside(str(path), folders)
    if not found:
        raise Unavailable(f"source {name!r}: no such file matches")
    return found


def is_inside(name: str, folders: Sequence[Path]) -> bool:
    """Return True when *name*, all links followed, lies in one of *folders*."""
    path = Path(os.path.realpath(name))
    return any(path.is_relative_to(os.path.realpath(folder)) for folder in folders)


def _must_be_inside(name: str, folders: Sequence[Path] | None) -> None:
    if folders is not None and not is_inside(name, folders):
        raise Unavailable(f"source {name!r} is not in the folders that this node reads: see source_path in its [node]")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _before_magic(name: str) -> str:
    """Return the folder of a pattern's first part that is one."""
    parts = Path(name).parts
    first = next(i for i, part in enumerate(parts) if has_magic(part))
    return os.path.join("", *parts[:first]) or "."
