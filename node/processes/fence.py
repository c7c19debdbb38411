"""What a handler's process may do with files: which paths it may read and change. Decided here, carried out by others.

Reading is a list of what is open, because the kernel's fence (node.processes.landlock) knows no exceptions: the
whole file system but `hidden` and the files of `bare` folders, and then what is `open` in spite of that.
"""

import os
import site
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from node.processes.progress import PROGRESS
from wire.settings import PROGRAM_ROOT, NodeSettings, Settings

SHM = "/dev/shm"  # noqa: S108 - where frames travel
HOMES = ("/home", "/root", "/Users")
PROGRAM = ("main.py", "handlers", "node", "wire")  # what a handler's process loads
NOTES = (".verified", "gallery-cache")  # folders in model_path that handlers write to
CHANNEL, GALLERIES = "channel", "galleries"  # folders in the agent's folder
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "nvidia*", "dri", "video*", "dxg", "kfd", "snd")


class Fence(Struct, frozen=True):
    """The same for all handlers of a node; absolute paths."""

    hidden: list[str] = []  # neither these nor what is in them may be read
    bare: list[str] = []  # folders whose own files may not be read; what is in their folders may
    open: list[str] = []  # may be read all the same
    writable: list[str] = []  # may be changed, and read


def fence_of(settings: Settings, node: NodeSettings, run_path: Path, classes: Iterable[str]) -> Fence:
    """Return the fence of the node's handlers: no home, no configuration, no secret, no books of the gateway.

    classes: "module:Class" of all of them.
    """
    files, home = list(_secrets(settings)), Path.home()
    authority = [settings.security.tls_ca] if settings.security.tls_ca else []
    authority += [Path(target.ca) for target in node.tx_targets if target.ca is not None]
    models = [*authority, node.model_path, *([node.gallery_path] if node.gallery_path else []), *node.source_path]
    return Fence(
        hidden=_real([*files, *HOMES, home]),
        bare=_real([*(f.parent for f in files), run_path]),
        open=_real([*models, *_program(classes), run_path / GALLERIES, run_path / PROGRESS, *_foundation()]),
        writable=_real([run_path / CHANNEL, *(node.model_path / n for n in NOTES), home / ".nv", *_devices()]),
    )


def _secrets(settings: Settings) -> Iterator[Path]:
    """Yield the files that hold secrets, or may."""
    security, database, coordinator = settings.security, settings.database, settings.coordinator
    found = [settings.path, security.token_file, security.tokens_path, security.tls_key]
    found += [path for n in settings.nodes for path in (n.token_file, n.tx_targets_path)]
    found += [Path(target.token_file) for n in settings.nodes for target in n.tx_targets]
    found += [coordinator.token_file] if coordinator else []
    found += [database.db_passwd_file, database.db_path] if database else []
    yield from (path for path in found if path is not None)


def readable(fence: Fence) -> list[str]:
    """Return the folders and files that a process behind *fence* may read, as they are now."""
    return [*complement("/", frozenset(fence.hidden), frozenset(fence.bare)), *fence.open]


def complement(folder: str, hidden: frozenset[str], bare: frozenset[str]) -> Iterator[str]:
    """Yield what is in *folder*, as large pieces as can be, without *hidden* and the plain files of *bare* folders."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # not ours to look into: not the handlers' either
        return
    for entry in entries:
        path = os.path.join(folder, entry.name)
        if entry.is_symlink() or path in hidden:  # a link's target is open, or not, by its own place
            continue
        if path in bare or any(closed.startswith(path + "/") for closed in hidden | bare):
            yield from complement(path, hidden, bare)
        elif folder not in bare or entry.is_dir():
            yield path


def _program(classes: Iterable[str]) -> list[Path]:
    modules = {name.partition(":")[0].partition(".")[0] for name in classes}
    return [PROGRAM_ROOT / name for name in (*PROGRAM, *modules, *(f"{m}.py" for m in modules))]


def _foundation() -> Iterator[Path]:
    """Yield where Python and its packages, and a user's own modules, come from: also when that is in a home."""
    yield from (Path(sys.prefix), Path(sys.base_prefix), Path(site.getusersitepackages()))
    yield from (Path(p) for p in sys.path if p and Path(p).resolve() != PROGRAM_ROOT)


def _devices() -> list[Path]:
    """Return the devices that may be used: all that let this user, or for root those that a handler can need."""
    device = Path("/dev")
    return [device] if os.getuid() else [Path(SHM), *(p for name in DEVICES for p in device.glob(name))]


def _real(paths: Iterable[str | Path]) -> list[str]:
    return sorted({os.path.realpath(path) for path in paths})
