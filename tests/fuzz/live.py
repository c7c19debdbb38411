"""Many cases through real sockets at a coordinator, a collector and a node, while two sessions work.

senders (threads, a connection per case) ──▶ data port, control port, coordinator, collector
witness ──a valid frame each 50 ms──▶ a session of its own: every one must come back
peers that leave things half-way ──▶ all ports, while the daemons end: that must not hold them up

A case is over when it was answered, or after ANSWER_S: most of a sender's time is waiting, so there are many.
"""

import contextlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import cv2
import psutil
import requests

from node.processes.limits import private_mb
from tests.daemons import Daemon, start
from tests.e2e.live_session import LiveSession, wait_for
from tests.fuzz import seeds
from tests.fuzz.mutate import spoilt_request

SENDERS = 32
END_S = 60.0  # how long the daemons may take to end; their supervisor kills whoever takes 15 s, and says so
HALF = (
    b"",
    b"GET /healthz HT",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{",
)  # silence, head, body
PEERS = 16  # of each kind at each port while the daemons end
ANSWER_S = 0.25  # how long an answer is waited for: what was cut off has none
SHARES = {"data port": 60, "control port": 14, "coordinator": 14, "collector": 12}
LEFT_S = 60.0  # how long the daemons may take to close what their peers closed
GROWTH_MB, MORE_FILES = 24, 24  # that a process may have more after the run than when it was warm
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
HONEST = {"501", "503", "505", "507"}  # not there, full or away, not our HTTP, no place: answers, not failures
CONFIG = """
[coordinator]
coordinator_port = 0
auto_register = false
node_path = {folder}/nodes
[collector]
collector_port = 0
[node]
node_id = 1
node_port = 0
data_port = 0
[reporter]
send_report_period = 1
spool_path = {folder}/spool
[database]
db_engine = sqlite
db_path = {folder}/fuzz.sqlite
"""


@dataclass
class Seen:
    """What became of the cases; `wrong` must stay empty."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    frames: int = 0  # of the witness
    grown: dict[str, tuple[int, int]] = field(default_factory=dict)  # process -> MiB, files
    wrong: list[str] = field(default_factory=list)
    log: str = ""  # what the daemons wrote


@dataclass
class Target:
    """A port and what is spoilt for it."""

    name: str
    address: tuple[str, int]
    corpus: list[bytes]


def run(seed: int, count: int) -> Seen:
    """Send *count* cases of *seed* to daemons of this run's own."""
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        (folder / "nodes").mkdir()
        (folder / "nodes/1.json").write_text(
            '{"node_id": 1, "node_name": "one", "node_addr": "127.0.0.1", "node_port": 1, "data_port": 2}'
        )
        (folder / "fuzz.conf").write_text(CONFIG.format(folder=folder))
        daemon = start(folder / "fuzz.conf", folder)
        try:
            seen = _run(seed, count, daemon.wait_ready(3, timeout=120))
            with _half_way(daemon):
                _stop(daemon, seen)
        finally:
            daemon.kill()
        if "Traceback" in seen.log:
            seen.wrong.append(f"a traceback in the log: {seen.log[seen.log.index('Traceback') :][:1500]}")
        return seen


@contextlib.contextmanager
def _half_way(daemon: Daemon) -> Iterator[None]:
    """Hold connections that owe the rest of a request to all ports while the block runs."""
    with contextlib.ExitStack() as held:
        for url in _urls(daemon):
            for sent in HALF * PEERS:
                held.enter_context(socket.create_connection(_address(url), timeout=10)).sendall(sent)
        yield


def _urls(daemon: Daemon) -> list[str]:
    """Return the URLs of all ports."""
    return [url for ready in daemon.ready for url in (ready.url, ready.data_url) if url]


def _stop(daemon: Daemon, seen: Seen) -> None:
    """End the daemons in order."""
    begun = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    try:
        status = daemon.process.wait(END_S)
    except subprocess.TimeoutExpired:
        status = -1
    if status:
        seen.wrong.append(f"status {status} at the end, after {time.monotonic() - begun:.0f} s")
    seen.log = daemon.log.read_text()


def _run(seed: int, count: int, daemon: Daemon) -> Seen:
    ready = {r.name: r for r in daemon.ready}
    coordinator = ready["coordinator"].url
    wait_for(lambda: _up(coordinator), "the node to be up", patience_s=60)
    victim, quiet = (LiveSession.create(coordinator, "face_detection", variant="haar") for _ in range(2))
    photo = _photo()
    expected = quiet.post(photo).json()["boxes"]
    seen, over = Seen(), threading.Event()
    watching = threading.Thread(target=_witness, args=(quiet, photo, expected, seen, over), daemon=True)
    watching.start()
    targets = _targets(ready["coordinator"].url, ready["collector"].url, ready["node 1"].url, victim)
    warm = count // 5
    _send(seed, range(warm), targets, seen)
    _left(daemon)
    before = _usage(daemon)
    _send(seed, range(warm, count), targets, seen)
    over.set()
    watching.join()
    _settle(victim, photo, expected, seen)
    _left(daemon)
    _compare(before, _usage(daemon), seen)
    for name, one in ready.items():
        if requests.get(f"{one.url}/healthz", timeout=10).status_code != 200:
            seen.wrong.append(f"{name} does not answer any more")
    return seen


def _photo() -> bytes:
    return cv2.imencode(".jpg", cv2.resize(seeds.read_photo(), None, fx=0.35, fy=0.35))[1].tobytes()


def _up(coordinator: str) -> bool:
    nodes = requests.get(f"{coordinator}/nodes", timeout=10).json()["nodes"]
    return any(node["node_id"] == 1 and node["state"] == "up" for node in nodes)


def _targets(coordinator: str, collector: str, control: str, victim: LiveSession) -> list[Target]:
    path = urlsplit(victim.url).path
    frames = seeds.frame_requests(path, victim.id)
    return [
        Target("data port", _address(victim.url), frames),
        Target("control port", _address(control), seeds.control_requests()),
        Target("coordinator", _address(coordinator), seeds.coordinator_requests()),
        Target("collector", _address(collector), seeds.collector_requests()),
    ]


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _send(seed: int, numbers: range, targets: list[Target], seen: Seen) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        for begin in range(SENDERS):
            pool.submit(_sender, seed, numbers[begin::SENDERS], targets, seen).add_done_callback(_told(seen))


def _told(seen: Seen) -> Callable[..., None]:
    def callback(future: object) -> None:
        error = future.exception()  # type: ignore[attr-defined]
        if error is not None:
            seen.wrong.append(f"a sender ended: {error!r}")

    return callback


def _sender(seed: int, numbers: range, targets: list[Target], seen: Seen) -> None:
    for number in numbers:
        rng = Random(f"live:{seed}:{number}")
        target = rng.choices(targets, [SHARES[t.name] for t in targets])[0]
        data = spoilt_request(rng, target.corpus)
        answer = exchange(target.address, data)
        seen.cases[target.name] += 1
        if answer is None:
            seen.wrong.append(f"case {seed}:{number}: {target.name} takes no connection")
        for status in STATUS.findall(answer or b""):
            text = status.decode()
            seen.statuses[text] += 1
            if text.startswith("5") and text not in HONEST:
                seen.wrong.append(f"case {seed}:{number}: {target.name} answered {text} to {data[:300]!r}")


def exchange(address: tuple[str, int], data: bytes) -> bytes | None:
    """Send *data* on a connection of its own; returns what comes back, None when nobody takes the connection."""
    try:
        sock = socket.create_connection(address, timeout=10)
    except OSError:
        return None
    found = b""
    with sock, contextlib.suppress(OSError):
        sock.settimeout(ANSWER_S)
        sock.sendall(data)
        while len(found) < 1 << 16 and (piece := sock.recv(1 << 16)):
            found += piece
            if b"Content-Length: 0\r\n" in piece or piece.endswith((b"}", b"}\n")):
                break  # an answer is complete; another would be to the rest of a broken request
    return found


def _witness(session: LiveSession, photo: bytes, expected: object, seen: Seen, over: threading.Event) -> None:
    mine = session.attach()
    while not over.wait(0.05):
        try:
            response = mine.post(photo)
            good = response.status_code == 200 and response.json()["boxes"] == expected
        except requests.RequestException as error:
            seen.wrong.append(f"the witness has no answer: {error!r}")
            continue
        seen.frames += 1
        if not good:
            seen.wrong.append(f"the witness got {response.status_code}: {response.text[:300]}")


def _settle(victim: LiveSession, photo: bytes, expected: object, seen: Seen) -> None:
    """A valid frame passes where the garbage went, and its books balance."""
    response = victim.post(photo)
    if response.status_code != 200 or response.json()["boxes"] != expected:
        seen.wrong.append(f"after it all a valid frame got {response.status_code}: {response.text[:300]}")
    books = victim.settled_books(1)
    if books["frames_in"] != books["delivered"] + sum(books["dropped"].values()):
        seen.wrong.append(f"the books do not balance: {books}")


def _left(daemon: Daemon) -> None:
    """Wait until the daemons have closed what the senders closed: a silent stream notices by its signs of life."""

    ports = {_address(url)[1] for url in _urls(daemon)}

    def half_closed() -> list[str]:
        return [text for process in daemon.members() for text in _half_closed(process, ports)]

    wait_for(lambda: not half_closed(), "connections to be closed", half_closed, patience_s=LEFT_S)


def _half_closed(process: psutil.Process, ports: set[int]) -> list[str]:
    """Return the connections to *ports* that the process still holds though the peers have closed them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_CLOSE_WAIT]
        return [f"process {process.pid}, port {c.laddr.port}" for c in found if c.laddr.port in ports]
    return []


def _usage(daemon: Daemon) -> dict[int, tuple[str, int, int]]:
    """Return name, private MiB and open files of each process of the daemons."""
    found = {}
    for process in daemon.members():
        with contextlib.suppress(psutil.Error):
            name = " ".join(process.cmdline()[-3:])[-60:]
            found[process.pid] = (name, private_mb(process.pid), process.num_fds())
    return found


def _compare(before: dict[int, tuple[str, int, int]], after: dict[int, tuple[str, int, int]], seen: Seen) -> None:
    for pid, (name, memory, files) in before.items():
        if pid not in after:
            seen.wrong.append(f"process {pid} ({name}) is gone")
            continue
        grown = after[pid][1] - memory, after[pid][2] - files
        seen.grown[f"{pid} {name}"] = grown
        if grown[0] > GROWTH_MB or grown[1] > MORE_FILES:
            seen.wrong.append(f"process {pid} ({name}) has {grown[0]} MiB and {grown[1]} files more")
