"""With a token everything wants it, and everything goes on: heartbeats, plans, hops, reports, the client."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import COLLECTOR, COORDINATOR, DATABASE, NODE, StartDaemon
from tests.daemons import ROOT, Daemon, clean_environ

TOKEN = "only-for-this-test"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
PHOTO = ROOT / "samples/photos/obama2.jpg"
PATIENCE_S = 15.0


@pytest.fixture
def daemons(start_daemon: StartDaemon, tmp_path: Path) -> Iterator[list[Daemon]]:
    """Coordinator, collector and two nodes that share a token file."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    security = "\n[security]\ntoken_file = {folder}/token\n"

    def begin(text: str, name: str, environ: dict[str, str]) -> Daemon:
        return start_daemon((text + security).format(folder=tmp_path, root=ROOT), environ, name)

    one = begin(COORDINATOR + DATABASE, "coordinator", {})
    two = begin(COLLECTOR + DATABASE, "collector", {})
    found = [one, two]
    for node_id, name in enumerate(("edge", "server"), start=1):
        environ = {
            f"FACESERVICE_NODE_{name.upper()}_COORDINATOR_URL": one.url,
            "FACESERVICE_REPORTER_COLLECTOR_PORT": two.url.rpartition(":")[2],
        }
        found.append(begin(NODE.replace("{name}", name).replace("{node_id}", str(node_id)), name, environ))
    yield found
    for daemon in found:
        assert TOKEN not in daemon.log.read_text()


def create(url: str) -> dict[str, Any]:
    """Return a session whose frames cross from node 1 to node 2, once both nodes were heard."""
    body = {"service": "face_detection", "variant": "haar", "pin": {"0": 1, "1": 2}, "entry_node": 1}
    until = time.monotonic() + PATIENCE_S
    while (answer := requests.post(f"{url}/sessions", json=body, headers=HEADERS, timeout=30)).status_code != 201:
        assert time.monotonic() < until, answer.text
        time.sleep(0.1)
    document: dict[str, Any] = answer.json()
    return document


def status(method: str, url: str, token: str | None, **more: Any) -> int:
    headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.request(method, url, headers=headers, timeout=10, **more).status_code


def test_all_goes_on_with_a_token_and_nothing_without(daemons: list[Daemon], tmp_path: Path) -> None:
    url = daemons[0].url
    session = create(url)
    frame = {"data": PHOTO.read_bytes(), "headers": {"Content-Type": "image/jpeg"}}
    assert status("POST", session["session_url"], TOKEN, **frame) == 200
    assert status("GET", session["results_url"] + "/0", TOKEN) == 200
    hop = f"{daemons[3].data_url}/sessions/{session['session_id']}/handlers/1/inputs/0"
    for wrong in (None, TOKEN[:-1]):
        assert status("POST", session["session_url"], wrong, **frame) == 401
        assert status("GET", session["results_url"] + "/0", wrong) == 401
        assert status("POST", hop, wrong, **frame) == 401
        assert status("GET", f"{daemons[2].data_url}/nothing", wrong) == 401
        for daemon in daemons:
            assert status("GET", f"{daemon.url}/metrics", wrong) == 401
            assert status("GET", f"{daemon.url}/nothing", wrong) == 401
            assert status("GET", f"{daemon.url}/healthz", wrong) == 200
            assert requests.get(f"{daemon.url}/readyz", timeout=5).json() == {"status": "ready"}
    with requests.get(session["video_url"], stream=True, timeout=10) as video:
        assert video.status_code == 200, "the URL itself is the capability"
    wait_for_link(tmp_path / "faceservice.sqlite")
    assert status("DELETE", f"{url}/sessions/{session['session_id']}", TOKEN) == 204


def wait_for_link(database: Path) -> None:
    """Wait until a report told of the hop from node 1 to node 2."""
    until = time.monotonic() + PATIENCE_S
    with sqlite3.connect(database) as connection:
        while not connection.execute("SELECT 1 FROM link_info WHERE node_id = 1 AND target_node_id = 2").fetchone():
            assert time.monotonic() < until, "no report came"
            time.sleep(0.1)


def test_the_client_takes_the_token_from_a_file(daemons: list[Daemon], tmp_path: Path) -> None:
    requests.delete(f"{daemons[0].url}/sessions/{create(daemons[0].url)['session_id']}", headers=HEADERS, timeout=10)

    def client(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "client", "run", "face_detection", str(PHOTO), "--json", *more]
        environ = clean_environ({"FACESERVICE_URL": daemons[0].url})
        return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    done = client("--token-file", str(tmp_path / "token"))
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ok"), done.stderr
    refused = client()
    assert refused.returncode == 1 and "--token-file" in refused.stderr
