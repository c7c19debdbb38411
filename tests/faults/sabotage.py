"""A wrong clock, a bad disk and an address of its own for a daemon: sabotage.c, preloaded, and the orders it reads."""

import functools
import shutil
import struct
import subprocess
import tempfile
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("sabotage.c")
ORDERS = struct.Struct("=qq")  # struct orders: clock_ns, disk


class Disk(IntEnum):
    """What a disk does; SLOW: each fsync takes 0.3 s more."""

    WELL, FULL, READ_ONLY, SLOW = 0, 1, 2, 3


@functools.cache
def library() -> Path | None:
    """Return the compiled library, or None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    made = Path(tempfile.mkdtemp(prefix="fs-sabotage-")) / "sabotage.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(made), str(SOURCE), "-ldl"], check=True, timeout=60)
    return made


class Saboteur:
    """The orders for one daemon."""

    def __init__(self, file: Path, folder: Path, source: str) -> None:
        """file: where the orders are, made here; folder: what is on the disk; source: where connections come from."""
        self._file, self._folder, self._source = file, folder, source
        self._clock_ns, self._disk = 0, Disk.WELL
        file.write_bytes(ORDERS.pack(0, 0))

    def environ(self) -> dict[str, str]:
        """Return what a daemon needs in its environment to obey; nothing without a compiler."""
        made = library()
        if made is None:
            return {}
        return {
            "LD_PRELOAD": str(made),
            "SABOTAGE": str(self._file),
            "SABOTAGE_FOLDER": f"{self._folder}/",
            "SABOTAGE_SOURCE": self._source,
        }

    def clock(self, offset_s: float) -> None:
        """Set the clock wrong by so much."""
        self._clock_ns = int(offset_s * 1e9)
        self._order()

    def disk(self, disk: Disk) -> None:
        """Change the disk."""
        self._disk = disk
        self._order()

    def _order(self) -> None:
        with self._file.open("r+b") as file:  # in place: it is mapped
            file.write(ORDERS.pack(self._clock_ns, self._disk))
