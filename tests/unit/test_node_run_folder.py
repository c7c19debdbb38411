"""An agent's own folder."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.run_folder import LONGEST_SOCKET, NoRoom, RunFolder, check_length

ROOT = Path(__file__).parents[2]
HOLD = "import sys; from pathlib import Path; from node.run_folder import RunFolder; \
f = RunFolder(3, Path(sys.argv[1])); print(f.path, flush=True); sys.stdin.read()"


def test_a_folder_is_private_and_removed(tmp_path: Path) -> None:
    folder = RunFolder(1, tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.path.name == folder.name
    folder.remove()
    assert not folder.path.exists()


def test_a_living_agents_folder_stays_and_a_killed_ones_goes(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        ours = RunFolder(1, tmp_path)
        assert theirs.exists()
        other.kill()
        other.wait(5)
        again = RunFolder(1, tmp_path)
        assert not theirs.exists()
    assert ours.path.exists(), "this process lives"
    ours.remove()
    again.remove()


def test_a_folder_whose_sockets_would_have_too_long_paths_is_named() -> None:
    """The kernel itself says how long a socket's path may be."""
    base = Path("/tmp/faceservice-0")
    check_length(base, 2**31 - 1)
    with pytest.raises(NoRoom, match=r"is too long for the sockets in it, by \d+ bytes: set TMPDIR"):
        check_length(base / ("x" * 40), 1)
    with socket.socket(socket.AF_UNIX) as one:
        with pytest.raises(FileNotFoundError):
            one.connect("/" * (LONGEST_SOCKET - 1) + "x")
        with pytest.raises(OSError, match="too long"):
            one.connect("/" * LONGEST_SOCKET + "x")
