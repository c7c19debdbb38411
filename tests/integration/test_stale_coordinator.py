"""A coordinator that cannot read the database does not know what another one did: it ends and stops nothing."""

from pathlib import Path
from typing import Any

import requests

from tests.conftest import StartDaemon
from tests.e2e.live_session import wait_for
from tests.e2e.played_node import PlayedNode
from tests.integration.mariadb import MariaDB, mysql_settings
from tests.integration.test_two_coordinators import ASKED, CONFIG
from wire.database import connect, migrate

STRANGER = {"session_id": 4711, "epoch": 3, "state": "running", "entry": True}


def answers(node: PlayedNode) -> dict[int, str]:
    """Return the states that the coordinator wants, by session."""
    report: dict[str, Any] = node.heartbeat()
    found = node.beat(sessions=[*report["sessions"], STRANGER]).json()["sessions"]
    return {s["session_id"]: s["state"] for s in found}


def test_a_coordinator_without_its_database_leaves_sessions_as_they_are(
    start_daemon: StartDaemon, own_mariadb: MariaDB, tmp_path: Path
) -> None:
    settings = mysql_settings(own_mariadb, own_mariadb.new_schema())
    engine = connect(settings)
    migrate(engine)
    engine.dispose()
    coordinator = start_daemon(CONFIG.format(folder=tmp_path, db=settings))
    node = PlayedNode(coordinator.url, 1).live()
    made = requests.post(f"{coordinator.url}/sessions", json=ASKED | {"entry_node": 1}, timeout=20)
    assert made.status_code == 201, made.text
    number = made.json()["session_id"]
    node.states[number] = "stopped"  # another coordinator was asked to
    assert answers(node) == {number: "running"}, "it knows better, and nobody knows the stranger"
    own_mariadb.kill()
    as_told = {number: "stopped", STRANGER["session_id"]: "running"}
    wait_for(lambda: answers(node) == as_told, "it to be unsure", lambda: answers(node))
    own_mariadb.start()
    wait_for(lambda: answers(node) == {number: "running"}, "it to be sure again", lambda: answers(node))
    requests.delete(f"{coordinator.url}/sessions/{number}", timeout=20).raise_for_status()
    node.die()
