"""Handlers and gateways are killed and stopped at random while clients post: each frame is answered once, and right."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import psutil
import pytest
import requests

from tests.conftest import Cluster
from tests.daemons import ROOT, Daemon
from tests.e2e.live_session import JPEG, JSON, LiveSession, wait_for
from tests.faults.checker import Answer, Seen, balance, faults
from tests.faults.clients import Client, Listener, read
from tests.faults.plans import Fault, What, plan

SPLIT = {0: 1, 1: 2, 2: 2, 3: 2}  # decode on node 1, detect, draw and encode on node 2
PHOTOS = [ROOT / "samples/photos" / name for name in ("obama2.jpg", "astronaut.jpg")]
WANTS = [JSON, JSON, JSON, JPEG]  # one per client


@pytest.fixture
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    with closing(LiveSession.create(shared_cluster.url, "face_detection", variant="haar", pin=SPLIT)) as made:
        yield made


def small(photo: Path) -> bytes:
    """Return *photo* at a third of its size, as JPEG."""
    picture = cv2.imread(str(photo))
    assert picture is not None
    return cv2.imencode(".jpg", cv2.resize(picture, None, fx=0.35, fy=0.35))[1].tobytes()


def node_of(cluster: Cluster, node_id: int) -> Daemon:
    return {1: cluster.edge, 2: cluster.server}[node_id]


def pid_of(cluster: Cluster, session: LiveSession, fault: Fault) -> int | None:
    """Return the process that *fault* is about; None while it is being started anew."""
    if fault.handler_id is None:
        node = node_of(cluster, fault.node_id)
        pid = int(re.findall(r"gateway started, pid (\d+)", node.log.read_text())[-1])
    else:
        node = node_of(cluster, SPLIT[fault.handler_id])
        held = requests.get(f"{node.url}/sessions/{session.id}", timeout=10).json()
        pid = next(h["pid"] for h in held["handlers"] if h["handler_id"] == fault.handler_id) or 0
    return pid if pid in {member.pid for member in node.members()} else None


def carry_out(cluster: Cluster, session: LiveSession, fault: Fault) -> None:
    """Do what *fault* says."""
    pause = threading.Event()
    pause.wait(fault.wait_s)
    found: list[int | None] = []
    wait_for(lambda: found.append(pid_of(cluster, session, fault)) or found[-1], f"the process of {fault}")  # type: ignore[func-returns-value]
    process = psutil.Process(found[-1])
    if fault.what is What.KILL:
        process.send_signal(signal.SIGKILL)
        return
    process.send_signal(signal.SIGSTOP)
    pause.wait(fault.seconds)
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_frame_is_answered_once_whatever_is_killed(
    shared_cluster: Cluster, session: LiveSession, seed: int
) -> None:
    data = [small(photo) for photo in PHOTOS]
    before = [read(("before", i), session.post(one), attempts=1) for i, one in enumerate(data)]
    pictures = [(one, answer.boxes) for one, answer in zip(data, before, strict=True)]
    assert all(boxes for _, boxes in pictures)
    clients = [Client(f"client-{i}", session, pictures, want) for i, want in enumerate(WANTS)]
    listener = Listener(session)
    for thread in (listener, *clients):
        thread.start()
    try:
        for fault in plan(seed, sorted(SPLIT)):
            carry_out(shared_cluster, session, fault)
            books = session.books()
            assert books is None or balance(books) == []
        goal = {client: len(client.answers) + 3 for client in clients}
        wait_for(lambda: all(len(c.answers) >= goal[c] for c in clients), "later frames of each client")
    finally:
        for client in clients:
            client.done.set()
    for client in clients:
        client.join(40)
        assert not client.is_alive()
    seen = settled(session, clients, listener, before)
    assert faults(seen) == [], f"seed {seed}: {plan(seed, sorted(SPLIT))}"
    assert max(a.attempts for a in seen.answers) > 1, "nobody noticed anything: the plan shows nothing"


def settled(session: LiveSession, clients: list[Client], listener: Listener, before: list[Answer]) -> Seen:
    """Return what was seen, once the books have settled; *before*: answers that came before the clients began."""
    highest = max(a.sequence or 0 for client in clients for a in client.answers)
    books = session.settled_books(highest + 1)
    wait_for(lambda: listener.sequences and listener.sequences[-1] >= highest, "the stream to end")
    listener.done.set()
    listener.join(10)
    sent = {key: boxes for client in clients for key, boxes in client.sent.items()}
    return Seen(
        sent=sent | {answer.key: answer.boxes for answer in before},
        answers=[*before, *(answer for client in clients for answer in client.answers)],
        stream=listener.sequences,
        books=books,
    )


def test_nothing_is_left_of_nodes_whose_processes_were_killed(cluster: Cluster) -> None:
    """No process, no shared memory, no folder; also when a gateway and a handler are dead at that very moment."""
    session = LiveSession.create(cluster.url, "face_detection", variant="haar", pin=SPLIT)
    data = small(PHOTOS[0])
    assert session.post(data).status_code == 200
    folders = [folder_of(node) for node in (cluster.edge, cluster.server)]
    assert all(list(Path("/dev/shm").glob(f"{folder.name}_*")) for folder in folders)
    for fault in (Fault(0, What.KILL, 1, 2), Fault(0, What.KILL, None, 1), Fault(0, What.KILL, None, 2)):
        carry_out(cluster, session, fault)
    for node in (cluster.edge, cluster.server):
        node.stop()  # status 0, and no process of its group
    for folder in folders:
        assert not folder.exists()
        assert not list(Path("/dev/shm").glob(f"{folder.name}_*"))


def folder_of(node: Daemon) -> Path:
    """Return the agent's folder: the one whose lock it has open."""
    pids = [node.process.pid, *(member.pid for member in node.members())]
    links = [Path(f"/proc/{pid}/fd").iterdir() for pid in pids]
    files = {os.readlink(link) for group in links for link in group if link.is_symlink()}
    return next(Path(path).parent for path in files if path.endswith("/lock") and "/faceservice-" in path)
