"""Two coordinators on one MariaDB: either answers, one controls, and the other takes over when that one is killed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.chance import chance, moment
from tests.conftest import StartDaemon
from tests.daemons import Daemon
from tests.e2e.live_session import wait_for
from tests.e2e.played_node import PlayedNode
from tests.integration.mariadb import MariaDB, mysql_settings
from wire.database import connect, migrate

CONFIG = """
[coordinator]
coordinator_port = 0
node_path = {folder}/nodes
control_period = 0.2
heartbeat_timeout = 2

[database]
db_engine = mysql
db_addr = {db.db_addr}
db_port = {db.db_port}
db_user = {db.db_user}
db_passwd = {db.db_passwd}
db_schema = {db.db_schema}
"""
ASKED = {"service": "face_detection", "variant": "hog"}


@pytest.fixture
def pair(start_daemon: StartDaemon, mariadb: MariaDB, tmp_path: Path) -> Iterator[list[Daemon]]:
    """Both coordinators, the one that leads first."""
    settings = mysql_settings(mariadb, mariadb.new_schema())
    engine = connect(settings)
    migrate(engine)
    engine.dispose()
    text = CONFIG.format(folder=tmp_path, db=settings)
    found = [start_daemon(text, name=f"coordinator-{i}") for i in (1, 2)]
    wait_for(lambda: [leads(d) for d in found].count(True) == 1, "one to lead")
    yield sorted(found, key=lambda d: not leads(d))


def leads(daemon: Daemon) -> bool:
    return bool(requests.get(f"{daemon.url}/readyz", timeout=5).json()["details"]["leads"])


def look(daemon: Daemon, session_id: int) -> dict[str, object]:
    document: dict[str, object] = requests.get(f"{daemon.url}/sessions/{session_id}", timeout=5).json()
    return document


def up(daemon: Daemon) -> set[int]:
    nodes = requests.get(f"{daemon.url}/nodes", timeout=5).json()["nodes"]
    return {n["node_id"] for n in nodes if n["state"] == "up"}


def heard(daemon: Daemon, node_id: int) -> float:
    return float(requests.get(f"{daemon.url}/nodes/{node_id}", timeout=5).json()["last_seen"])


def events(daemon: Daemon, session_id: int) -> list[str]:
    found = requests.get(f"{daemon.url}/sessions/{session_id}/events", timeout=5).json()["events"]
    return [e["event"] for e in found]


def test_either_answers_and_what_one_does_the_other_knows(pair: list[Daemon]) -> None:
    """Nodes report to one of them; a session is made, moved, drained and ended at the other."""
    leader, other = pair
    nodes = [PlayedNode(leader.url, n).live() for n in (1, 2)]
    wait_for(lambda: up(other) == {1, 2}, "the nodes to be known to both")
    made = requests.post(f"{other.url}/sessions", json=ASKED | {"entry_node": 1}, timeout=20)
    assert made.status_code == 201, made.text
    number = made.json()["session_id"]
    wait_for(lambda: look(leader, number).get("state") == "running", "the leader to know the session")
    requests.post(f"{other.url}/nodes/1/drain", timeout=5).raise_for_status()
    wait_for(lambda: look(other, number)["entry_node"] == 2, "the leader to drain what the other was asked to")
    wait_for(lambda: events(other, number) == ["created", "placed", "started", "moved"], "the move to be told")
    requests.delete(f"{other.url}/sessions/{number}", timeout=5).raise_for_status()
    wait_for(lambda: look(leader, number)["state"] == "deleted", "the leader to know the end")
    for node in nodes:
        wait_for(lambda node=node: number not in node.plans, "the nodes to be free")  # type: ignore[misc]
        node.die()


def test_the_leader_killed_the_other_leads_and_repairs(pair: list[Daemon]) -> None:
    """What died with it is placed anew; a node that has not found its way to the other yet is left as it is (G8)."""
    leader, other = pair
    draw = chance("the leader killed")
    first, second, third = draw.sample([1, 2, 3], 3)
    lost, kept = PlayedNode(leader.url, first).live(), PlayedNode(other.url, second).live()
    wanderer = PlayedNode(leader.url, third).live()
    wait_for(lambda: up(leader) == up(other) == {1, 2, 3}, "the nodes to be known to both")
    number, there = (
        requests.post(f"{leader.url}/sessions", json=ASKED | wish, timeout=20).json()["session_id"]
        for wish in ({"entry_node": first}, {"entry_node": third, "pin": dict.fromkeys(range(4), third)})
    )
    requests.post(f"{leader.url}/nodes/{third}/cordon", timeout=5).raise_for_status()
    moment(draw, 1.0)
    leader.kill()
    lost.die()
    wait_for(lambda: leads(other), "the other to lead")
    wait_for(
        lambda: (look(other, number)["state"], look(other, number)["entry_node"]) == ("running", second),
        "the session to run on the node that is left",
        lambda: look(other, number),
    )
    wait_for(lambda: events(other, number)[-3:] == ["degraded", "moved", "recovered"], "the move to be told")
    assert kept.states[number] == "running"
    wanderer.coordinator = other.url
    wait_for(lambda: heard(other, third) > time.time() - 1, "the last node to find the other")
    assert events(other, there) == ["created", "placed", "started"], "nothing happened to its session"
    for session_id in (number, there):
        requests.delete(f"{other.url}/sessions/{session_id}", timeout=5).raise_for_status()
    for node in (kept, wanderer):
        node.die()


def test_a_leader_that_ends_in_order_leaves_the_lead_at_once(pair: list[Daemon]) -> None:
    leader, other = pair
    leader.stop()
    wait_for(lambda: leads(other), "the other to lead", patience_s=2.5)  # less than a lease
