"""README's lines for a running system run as they stand: each command line of the client, and the program."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Cluster
from tests.daemons import ROOT, clean_environ

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.partition(" #")[0].strip() for line in re.findall(r"^python3 -m client .*$", README, re.MULTILINE)]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PICTURES = {
    "my-photos/1.jpg": "obama2.jpg",
    "a.jpg": "obama2.jpg",
    "b.jpg": "biden2.jpg",
    "ada1.jpg": "obama2.jpg",
    "ada2.jpg": "obama3.jpg",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A reader's folder, with the pictures that README's lines name."""
    for name, photo in PICTURES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / "samples" / "photos" / photo, tmp_path / name)
    return tmp_path


def finish(cluster: Cluster, folder: Path, words: list[str], run_s: float | None) -> "subprocess.CompletedProcess[str]":
    """Run python with *words*; what has no end of its own is interrupted (Ctrl-C) after *run_s*."""
    environ = clean_environ({"FACESERVICE_URL": cluster.url, "PYTHONPATH": str(ROOT)})
    argv = [sys.executable, *words]
    with subprocess.Popen(
        argv, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, err = process.communicate(timeout=run_s or 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT if run_s else signal.SIGKILL)
            out, err = process.communicate(timeout=20)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def test_every_line_of_the_client_works_in_its_order(shared_cluster: Cluster, folder: Path) -> None:
    assert len(COMMANDS) >= 7
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        endless = words[2] == "watch"
        until = time.monotonic() + 20
        done = finish(shared_cluster, folder, words, 4.0 if endless else None)
        while words[2] == "trace" and done.returncode and time.monotonic() < until:  # reports come by and by
            time.sleep(0.5)
            done = finish(shared_cluster, folder, words, None)
        assert done.returncode in ((0, 130) if endless else (0,)), f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), line
    assert list((folder / "drawn").iterdir())


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_prints_a_line_per_picture(shared_cluster: Cluster, folder: Path, program: str) -> None:
    done = finish(shared_cluster, folder, ["-c", program], None)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["a.jpg", "b.jpg"]
    assert "obama" in done.stdout and "biden" in done.stdout
