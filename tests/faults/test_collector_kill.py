"""kill -9 of the collector in mid-stream: frames do not notice, and every report is in the database once."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.chance import chance, moment
from tests.conftest import Cluster
from tests.e2e.live_session import LiveSession, wait_for
from tests.faults import marks
from tests.faults.plans import Kind, Sender
from tests.faults.posting import Client

SPLIT = {0: 1, 1: 2, 2: 2, 3: 2}
SLOWEST_S = 2.0  # of a post; some 30 ms on an idle machine, and the collector is away for longer than this
EVENTS = ("recv", "start", "end")


def ask(cluster: Cluster, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{cluster.database}?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def waiting(cluster: Cluster) -> list[Path]:
    """Return the reports in the nodes' spools."""
    return list((cluster.folder / "spool").rglob("*.json"))


def test_every_report_arrives_once_though_the_collector_is_killed(cluster: Cluster) -> None:
    draw = chance("collector killed")
    session = LiveSession.create(cluster.url, "face_detection", variant="haar", pin=SPLIT)
    clients = [
        Client(f"client-{i}", i, Sender(Kind.AWAITED, 1, 0.0), live=False, seed=i, url=lambda: session.url)
        for i in range(2)
    ]
    for client in clients:
        client.start()
    for _ in range(2):
        wait_for(lambda: ask(cluster, "SELECT * FROM reports LIMIT 1"), "a report in the database")
        moment(draw, 0.6)
        cluster.collector.kill()
        wait_for(lambda: len(waiting(cluster)) >= 4, "reports to wait in the spool", lambda: waiting(cluster))
        cluster.collector = cluster.restart("collector")
        wait_for(lambda: not waiting(cluster), "the spool to be empty", lambda: waiting(cluster))
    for client in clients:
        client.done.set()
        assert client.join(20)
    answers = [a for client in clients for a in client.answers]
    assert {(a.status, a.attempts) for a in answers} == {("ok", 1)}, "frames noticed"
    assert max(a.ended - a.began for a in answers) < SLOWEST_S
    last = max(a.sequence or 0 for a in answers)
    assert last == len(answers) - 1
    session.settled_books(last + 1)
    assert session.post(marks.picture(0)).json()["status"] == "ok"  # no row tells of it before the processes end
    last += 1
    for node in (cluster.edge, cluster.server):
        node.stop()  # which sends what it has
    assert not waiting(cluster)
    for _, _, first, final, count in ask(
        cluster, "SELECT node_id, boot_id, MIN(report_id), MAX(report_id), COUNT(*) FROM reports GROUP BY 1, 2"
    ):
        assert (first, final) == (1, count), "a report is missing"
    rows = ask(cluster, f"SELECT sequence, handler_id, event FROM packet_info WHERE session_id = {session.id}")
    found = Counter(row for row in rows if row[2] in EVENTS)
    assert found == {(sequence, h, event): 1 for sequence in range(last + 1) for h in (0, 1) for event in EVENTS}
    frames = ask(cluster, "SELECT SUM(frames) FROM proc_info WHERE handler_id IN (0, 1) GROUP BY handler_id")
    assert frames == [(last + 1,)] * 2, "no period is missing, none is counted twice"
