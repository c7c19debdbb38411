"""A coordinator whose database goes and comes back: changes wait, knowledge stays."""

from pathlib import Path

import requests

from tests.conftest import StartDaemon
from tests.e2e.played_node import PlayedNode
from tests.integration.mariadb import MariaDB, mysql_settings
from wire.database import connect, migrate

CONFIG = """
[coordinator]
coordinator_port = 0
node_path = {folder}/nodes
control_period = 0.2

[database]
db_engine = mysql
db_addr = {db.db_addr}
db_port = {db.db_port}
db_user = {db.db_user}
db_passwd = {db.db_passwd}
db_schema = {db.db_schema}
"""


def test_changes_get_503_while_the_database_is_away_and_nothing_is_forgotten(
    start_daemon: StartDaemon, own_mariadb: MariaDB, tmp_path: Path
) -> None:
    settings = mysql_settings(own_mariadb, own_mariadb.new_schema())
    migrate(connect(settings))
    daemon = start_daemon(CONFIG.format(folder=tmp_path, db=settings), name="coordinator")
    node = PlayedNode(daemon.url, 1)
    node.beat().raise_for_status()
    asked = {"service": "face_detection"}
    number = requests.post(daemon.url + "/sessions", json=asked, timeout=20).json()["session_id"]

    own_mariadb.kill()
    refused = requests.post(daemon.url + "/sessions", json=asked, timeout=20)
    assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
    assert int(refused.headers["Retry-After"]) >= 1
    assert requests.get(daemon.url + "/readyz", timeout=20).status_code == 503
    assert requests.post(f"{daemon.url}/sessions/{number}/stop", timeout=20).status_code == 503
    answer = node.beat()
    assert [s["session_id"] for s in answer.json()["sessions"]] == [number]
    assert requests.get(f"{daemon.url}/sessions/{number}", timeout=5).json()["state"] == "running"
    listed = requests.get(f"{daemon.url}/sessions", timeout=20)
    assert [s["session_id"] for s in listed.json()["sessions"]] == [number], "only changes wait"

    own_mariadb.start()
    assert requests.post(f"{daemon.url}/sessions/{number}/stop", timeout=20).json()["state"] == "stopped"
    node.die()
