"""README's lines run as they stand: the client's commands, the program, the three daemons by hand and a photo."""

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
from tests.curl_lines import run
from tests.daemons import ROOT, Daemon, clean_environ, start

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.partition(" #")[0].strip() for line in re.findall(r"^python3 -m client .*$", README, re.MULTILINE)]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(BY_HAND,) = re.findall(r"^sudo \./install\.sh.*?(?=^```)", README, re.MULTILINE | re.DOTALL)
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


def test_the_daemons_by_hand_name_the_people_on_a_photo(tmp_path: Path) -> None:
    """The block as it is, but for ports, which the kernel chooses, and SQLite in the place of the installed MariaDB."""
    lines = [line.partition("  #")[0].strip() for line in BY_HAND.splitlines()]
    configs = [line.split()[2] for line in lines if line.startswith("python3 main.py")]
    curls = [line for line in lines if line.startswith("curl")]
    assert (len(configs), len(curls)) == (3, 2)
    started: dict[str, Daemon] = {}
    environ = own_place(tmp_path)
    try:
        for config in configs:
            name = Path(config).stem
            started[name] = start(ROOT / config, tmp_path, environ).wait_ready()
            environ |= whereabouts(name, started[name])
        created = run(curls[0].replace("http://127.0.0.1:9002", started["coordinator"].url), {}, tmp_path)
        assert created.status == 201, created.body
        named = run(curls[1].replace("SESSION_URL", created.json()["session_url"]), {}, tmp_path)
        assert named.status == 200
        assert [box["label"] for box in named.json()["boxes"]] == ["unknown"]  # nobody was enrolled
        for daemon in reversed(started.values()):
            daemon.stop()
    finally:
        for daemon in started.values():
            daemon.kill()


def own_place(folder: Path) -> dict[str, str]:
    """Return overrides: any port, and a database and spool in *folder*."""
    ports = ("COORDINATOR_COORDINATOR", "COLLECTOR_COLLECTOR", "NODE_NODE", "NODE_DATA")
    return {f"FACESERVICE_{name}_PORT": "0" for name in ports} | {
        "FACESERVICE_DATABASE_DB_ENGINE": "sqlite",
        "FACESERVICE_DATABASE_DB_PATH": str(folder / "by-hand.sqlite"),
        "FACESERVICE_REPORTER_SPOOL_PATH": str(folder / "spool"),
    }


def whereabouts(name: str, daemon: Daemon) -> dict[str, str]:
    """Return what tells the later daemons where *daemon* is."""
    if name == "coordinator":
        return {"FACESERVICE_NODE_COORDINATOR_URL": daemon.url}
    return {"FACESERVICE_REPORTER_COLLECTOR_PORT": daemon.url.rpartition(":")[2]}
