"""JSON that is made to break its reader, for every port that reads JSON; and what it could leave behind."""

import gzip
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psutil
import requests

from tests.conftest import Cluster
from tests.daemons import Daemon
from tests.e2e.live_session import LiveSession

BOMBER = 77  # the node that nobody but this module speaks for
GROWTH_MB = 250  # of a daemon's process, at most, while it reads bodies of up to 16 MB
DEEP = 200_000
CONTROL, REPORTS = 4 << 20, 16 << 20  # bytes that the coordinator and the collector read
Send = Callable[..., requests.Response]
TELEMETRY = ("sys_info", "proc_info", "packet_info", "link_info", "gpu_info", "reports")


@dataclass(frozen=True)
class Port:
    """Something that reads JSON, and what it takes."""

    daemon: str
    method: str
    path: str
    good: dict[str, Any]
    limit: int = 1 << 20  # bytes that it reads
    optional: frozenset[str] = frozenset()  # members that may be null; "": the body may be empty
    number: str = ""  # a member of text that may be a number too


def report(report_id: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a report with a row in every table."""
    at = 1.8e9 + report_id
    return {
        "node_id": BOMBER,
        "boot_id": "b",
        "report_id": report_id,
        "sys_info": [{"timestamp": at, "cpu_util": 1.5, "mem_total": 2000, "mem_util": 3.0}],
        "proc_info": [{"timestamp": at, "session_id": 1, "handler_id": 2, "cpu_util": 99.0, "mem_util": 1.0}],
        "packet_info": [{"timestamp": at, "session_id": 1, "handler_id": 2, "sequence": 3, "event": "sent", "size": 9}],
        "link_info": [{"timestamp": at, "target_node_id": 2, "frames": 3, "bytes": 4, "send_ms": 0.5}],
        "gpu_info": [{"timestamp": at, "gpu_id": 0, "gpu_util": 1, "gpu_mem_util": 2, "gpu_clock": 3, "gpu_power": 4}],
    } | changes


BEAT: dict[str, Any] = {
    "node_id": BOMBER, "node_name": "bomber", "boot_id": "b", "control_url": "http://x", "data_url": "http://x",
    "hardware": {"cpus": 1, "mem_total": 1}, "load": {"cpu_util": 1.0, "mem_util": 1.0}, "timestamp": 1.0,
}  # fmt: skip
PLAN: dict[str, Any] = {
    "epoch": 1, "accept_from": 1, "graph": {"handlers": [{"handler_id": 0, "handler_type": 6, "params": {}}]},
    "local": [], "routes": {"0": [{"node_id": 1, "url": "http://x"}]}, "results": [],
    "entry": {"node_id": 9, "url": "http://x", "key": "k", "handler_id": 0},
}  # fmt: skip
SESSION = {"service": "face_detection", "params": {"1": {}}, "start": True}
PORTS = [
    Port("collector", "POST", "/reports", report(), REPORTS, frozenset({"size"})),
    Port("coordinator", "POST", "/sessions", SESSION, CONTROL, number="service"),
    Port("coordinator", "POST", "/sessions/{session}/reallocate", {"pin": {}}, CONTROL, frozenset({"", "pin"})),
    Port("coordinator", "POST", f"/nodes/{BOMBER}/heartbeat", BEAT, CONTROL),
    Port("coordinator", "POST", "/login", {"token": "x"}, 4096),
    Port("edge", "PUT", "/sessions/4711", PLAN),
    Port("data", "POST", "/sessions/{session}/lost", {"handler_id": 0, "why": "x"}, 65536, frozenset({"why"})),
]
OLDER_PORTS = [Port("collector", "POST", "/", {"sys_info": []}, REPORTS), Port("edge", "POST", "/", {"action": "stop"})]
LONG = b'{"a": "' + b"a" * (1 << 24) + b'"}'
PACKED = {"gzip": gzip.compress(LONG), "deflate": zlib.compress(LONG), "br": b"\x00"}
NAME = "{0.method} {0.daemon} {0.path}"


def bombs(port: Port) -> Iterator[tuple[str, bytes]]:
    """Yield (name, body) of what is no JSON, or JSON that no reader should take at that port."""
    good = json.dumps(port.good)
    deep = b"[" * DEEP + b"]" * DEEP
    yield "deep arrays", deep[: port.limit]
    yield "deep objects", (b'{"a":' * DEEP)[: port.limit]
    yield "deep in an unknown member", (good[:-1] + ', "surprise": ').encode() + b"[" * 20_000 + b"]" * 20_000 + b"}"
    yield "a huge array", b"[" + b"0," * (port.limit // 2 - 8) + b"0]"
    yield "a huge object", b"{" + b'"a":0,' * (port.limit // 6 - 8) + b'"a":'
    yield "a huge string", b'"' + b"a" * (port.limit - 8) + b'"'
    yield "a huge number", b"9" * 60_000
    yield "a number out of range", b"1e99999"
    yield "spaces", b" " * (port.limit - 1)
    if "" not in port.optional:
        yield "nothing", b""
    yield "half", good.encode()[: len(good) // 2]
    yield "twice", good.encode() * 2
    yield "a comma too many", good[:-1].encode() + b",}"
    yield "UTF-16", good.encode("utf-16")
    yield "a mark before it", good.encode("utf-8-sig")
    yield "zero bytes", bytes(1000)
    yield "packed without a word", gzip.compress(good.encode())
    for word in ("NaN", "Infinity", "-Infinity", "1e400", "0x10", "01", "undefined", "'a'", "9" * 5000):
        yield word[:10], _with(port.good, word)
    for text in (b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\xf8\x88\x80\x80\x80", b"\\ud800", b"\\x", b"\n"):
        yield f"text {text!r}", _with(port.good, "MARK").replace(b"MARK", b'"' + text + b'"')
    yield "a member in broken UTF-8", b'{"\xff": 1}'
    yield "the same member again, wrong", good[:-1].encode() + _again(port.good)


def too_deep(depth: int) -> list[tuple[Port, bytes]]:
    """Return what holds *depth* lists, one in the other, where anything may be."""
    nest, plan = b"[" * depth + b"]" * depth, json.loads(json.dumps(PLAN))
    plan["graph"]["handlers"][0]["params"]["x"] = "@"
    session = SESSION | {"params": {"1": {"scale_factor": "@"}}}
    older = {"action": "init", "session_id": 4711, "blueprint": plan["graph"] | {"links": []}}
    bodies = ((PORTS[1], session), (PORTS[5], plan), (OLDER_PORTS[1], older), (OLDER_PORTS[1], {"action": "@"}))
    return [(port, json.dumps(body).encode().replace(b'"@"', nest)) for port, body in bodies]


def _with(good: dict[str, Any], word: str) -> bytes:
    """Return *good* with *word* as it is in place of its last member's value."""
    return json.dumps(dict(list(good.items())[:-1]) | {list(good)[-1]: "@@"}).replace('"@@"', word).encode()


def _again(good: dict[str, Any]) -> bytes:
    """Return the first member again with a value that is wrong whatever it is: of equal names the last counts."""
    return f', "{next(iter(good))}": {{"x": [{{}}]}}}}'.encode()


def wrong_types(port: Port, good: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield (path, value): each place of *good*, with values of types that cannot be right there."""
    items = list(enumerate(good)) if isinstance(good, list) else list(good.items()) if isinstance(good, dict) else []
    more: dict[type, list[Any]] = {
        int: [2**70, -(2**70), 1.5, "1", True], float: ["1.0", True, 10**300], str: [False, 1.5],
        list: ["x", 7, True], dict: ["x", 7, True], bool: ["x", 7],
    }  # fmt: skip
    for key, value in items:
        here = (*path, key)
        wrong = more[type(value)] + ([] if isinstance(value, list | dict) else [[[]], {"x": 1}])
        wrong += [None] if key not in port.optional else []
        wrong += [7] if isinstance(value, str) and key != port.number else []
        yield from ((here, bad) for bad in wrong)
        yield from wrong_types(port, value, here)


def changed(good: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Return *good* with *value* at *path*."""
    copy = json.loads(json.dumps(good))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def sender(cluster: Cluster, session: LiveSession) -> Send:
    """Return a function that sends a body to a port."""
    hosts = {name: getattr(cluster, name).url for name in ("collector", "coordinator", "edge")}
    hosts["data"] = cluster.edge.data_url
    http = requests.Session()

    def post(port: Port, data: bytes, **headers: str) -> requests.Response:
        named = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        url = hosts[port.daemon] + port.path.format(session=session.id)
        return http.request(port.method, url, data=data, headers=named, timeout=30)

    return post


def kept(cluster: Cluster, session: LiveSession) -> tuple[Any, ...]:
    """Return all that a bomb could have left behind."""
    rows = []
    with closing(sqlite3.connect(cluster.database)) as connection:
        for table in TELEMETRY:
            query = f"SELECT COUNT(*) FROM {table} WHERE node_id = ?"
            rows.append(connection.execute(query, (BOMBER,)).fetchone()[0])
    nodes = [n["node_id"] for n in requests.get(f"{cluster.url}/nodes", timeout=20).json()["nodes"]]
    sessions = requests.get(f"{cluster.url}/sessions", timeout=20).json()["sessions"]
    held = requests.get(f"{cluster.edge.url}/sessions", timeout=20).json()["sessions"]
    epochs = [(s["session_id"], s["epoch"], s["state"]) for s in [*sessions, *held]]
    return rows, nodes, epochs


def peaks(cluster: Cluster) -> dict[int, int]:
    """Return the most MiB that each process has had so far, by pid."""
    daemons: list[Daemon] = [cluster.collector, cluster.coordinator, cluster.edge]
    return {p.pid: _peak_mb(p) for daemon in daemons for p in daemon.members()}


def _peak_mb(process: psutil.Process) -> int:
    with open(f"/proc/{process.pid}/status") as file:
        return next((int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM")), 0)


def is_problem(answer: requests.Response, *statuses: int) -> bool:
    """Return whether it is one of *statuses* as problem+json that says why."""
    body = answer.json() if answer.headers["Content-Type"] == "application/problem+json" else {}
    return answer.status_code in statuses and body.get("status") == answer.status_code and bool(body.get("detail"))
