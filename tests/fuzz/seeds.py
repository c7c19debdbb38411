"""What is spoilt: bytes as the product's own senders and usual clients make them, caught on a loopback socket."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from functools import lru_cache

import cv2
import msgspec
import numpy as np
import requests
from numpy.typing import NDArray

from handlers.codec import to_part
from handlers.types import Box, Boxes, Encoded
from node.processes import control
from node.transport.hop import HopClient
from tests.daemons import ROOT
from wire import packet
from wire.messages import (  # fmt: skip
    Entry,
    Graph,
    HandlerAvailability,
    HandlerSpec,
    Hardware,
    Heartbeat,
    Link,
    LinkInfo,
    Load,
    Objective,
    PacketEvent,
    PacketInfo,
    ProcInfo,
    Report,
    ResultSpec,
    Route,
    SessionPlan,
    SessionRequest,
    SysInfo,
)  # fmt: skip
from wire.packet import EmptyPart, Header, Kind, Span

WHEN = 1.75e9  # s: a case is the same whenever it is made
NOBODY = 99887766  # no session and no node has this number
JPEG, PACKET = "image/jpeg", packet.MEDIA_TYPE
PHOTO = ROOT / "samples/photos/obama2.jpg"


def read_photo() -> NDArray[np.uint8]:
    """Return the photo, uint8 (H, W, 3) BGR."""
    return np.asarray(cv2.imread(str(PHOTO)), np.uint8)


@lru_cache
def pictures() -> list[bytes]:
    """Return small pictures of every kind that is taken, and of some that are not."""
    photo = cv2.resize(read_photo(), (48, 64))
    found = [cv2.imencode(suffix, photo)[1].tobytes() for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm")]
    found.append(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    return found


@lru_cache
def packets() -> list[bytes]:
    """Return packets of every kind."""
    rng = np.random.default_rng(7)
    image = rng.integers(0, 256, (12, 16, 3), np.uint8)
    box = Box(
        "someone", 0.9, 1, 2, 8, 9, distance=0.4, crop=image[:6, :6], crop_x=0, crop_y=1, track_id=3,
        embedding=rng.normal(size=128), landmarks=np.zeros((5, 2), np.int32),
    )  # fmt: skip
    spans = [Span(0, 1, 1.0, 2.0, 3.0, 4), Span(1, 2, 5.0, 6.0, 7.0)]
    values = [(Kind.FRAME, Encoded(pictures()[0], JPEG)), (Kind.FRAME, image), (Kind.RESULT, Boxes([box, box])),
              (Kind.RESULT, EmptyPart("ok", 3, "no face")), (Kind.SOURCE, image), (Kind.RESULT, Boxes([]))]  # fmt: skip
    made = []
    for kind, value in values:
        part, buffers = to_part(value)
        header = Header(
            session_id=NOBODY, epoch=1, sequence=5, timestamp=WHEN, origin=1, want=[(2, 0)], trace=spans,
            payload=part, kind=kind, handler_id=0, port=0, horizon=3, previous=4,
        )  # fmt: skip
        made.append(b"".join(bytes(piece) for piece in packet.encode(header, buffers)))
    return made


@lru_cache
def bodies() -> dict[type, list[bytes]]:
    """Return JSON bodies of the control APIs by their kind."""
    link = Link(source_handler=0, target_handler=1)
    graph = Graph(
        handlers=[HandlerSpec(handler_id=h, handler_type=30000 + h, params={"a": [1, {"b": None}]}) for h in (0, 1)],
        links=[link],
        results=[ResultSpec(handler_id=1)],
    )
    route = [Route(node_id=NOBODY, url="http://127.0.0.1:9")]
    entry = Entry(node_id=NOBODY, url="http://127.0.0.1:9", key="k", handler_id=0)
    plan = SessionPlan(
        epoch=2, accept_from=1, graph=graph, local=[0, 1], routes={0: route, 1: route}, entry=entry,
        results=graph.results,
    )  # fmt: skip
    asked = SessionRequest(
        service="no_such_service", variant="haar", objective=Objective(max_latency_ms=50.0, min_fps=3.0),
        pin={0: 1, 1: [1, 2]}, replicas={1: 2}, labels=["edge"], params={1: {"min_size": 30}}, window=8,
    )  # fmt: skip
    beat = Heartbeat(
        node_id=NOBODY, node_name="fuzz", boot_id="b", control_url="http://127.0.0.1:9", data_url="http://127.0.0.1:9",
        handlers=[HandlerAvailability(handler_type=1, name="x", available=False, reason="none")],
        hardware=Hardware(cpus=2, mem_total=100), load=Load(cpu_util=1.0, mem_util=2.0), timestamp=WHEN,
    )  # fmt: skip
    report = Report(
        node_id=NOBODY, boot_id="fuzz", report_id=1,
        sys_info=[SysInfo(timestamp=1.5, cpu_util=2.0, mem_total=100, mem_util=3.0)],
        proc_info=[ProcInfo(timestamp=1.5, session_id=1, handler_id=2, cpu_util=3.0, mem_util=4.0, service_ms=1.5)],
        packet_info=[PacketInfo(timestamp=1.5, session_id=1, handler_id=2, sequence=3, event=PacketEvent.SENT, size=4)],
        link_info=[LinkInfo(timestamp=1.5, target_node_id=2, frames=3, bytes=4, send_ms=0.5)],
    )  # fmt: skip
    return {type(b): [msgspec.json.encode(b)] for b in (plan, asked, beat, report)}


@lru_cache
def older_bodies() -> list[bytes]:
    """Return requests of the older protocol to a node, for sessions and handler types that nobody has."""
    handlers = [{"handler_id": h, "handler_type": 30000 + h, "params": {"port": 9}} for h in (0, 1)]
    links = [{"source_handler": 0, "source_output": 0, "target_handler": 1, "target_input": 0}]
    blueprint = {"handlers": handlers, "links": links}
    actions = [{"action": a, "session_id": NOBODY} for a in ("start", "stop", "delete")]
    return [
        json.dumps(a).encode() for a in ({"action": "init", "session_id": NOBODY, "blueprint": blueprint}, *actions)
    ]


OLDER_REPORT = json.dumps(
    {
        "sys_info": [{"timestamp": 1.5, "cpu_util": 2.0, "mem_total": 10, "mem_util": 3.0,
                      "gpu_info": [{"gpu_id": 0, "gpu_util": 1, "gpu_mem_util": 2, "gpu_clock": 3, "gpu_power": 4}]}],
        "proc_info": [{"timestamp": 1.5, "session_id": 1, "handler_id": 2, "cpu_util": 3.0, "mem_util": 1.0}],
        "packet_info": [{"timestamp": 1.5, "session_id": 1, "handler_id": 2, "sequence": 3, "event": "send"}],
    }
).encode()  # fmt: skip
EVENT = PacketInfo(timestamp=1.0, session_id=1, handler_id=2, sequence=3, event=PacketEvent.END)
MESSAGES = [
    control.Ready(load_ms=1.0), control.Failed(reason="x", for_good=True), control.Attached(session_id=1, epoch=2),
    control.Telemetry(packets=[EVENT]),
    control.Drained(in_flight=3),
]  # fmt: skip


def messages() -> list[bytes]:
    """Return what children say to the agent."""
    return [msgspec.msgpack.encode(message) for message in MESSAGES]


def answers() -> list[bytes]:
    """Return answers of gateways."""
    problem = b'{"type": "/problems/full", "title": "Full", "status": 503}'
    return [
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-Done: 17\r\n\r\n" * 2,
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(problem), problem),
        b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    ]


URLS = [
    b"http://127.0.0.1:8080/sessions/1/key?a=b", b"https://user:pass%40@camera.lan:443/x", b"rtsp://[::1]:554/stream",
    b"samples/photos/*.jpg", b"/work/film.mp4", b"0",
]  # fmt: skip


def captured(send: Callable[[str], object]) -> bytes:
    """Return the bytes that *send*, given a base URL, puts on the wire."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: list[bytes] = []

        def take() -> None:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    while data := peer.recv(1 << 16):
                        found.append(data)
                peer.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=take)
        thread.start()
        port = server.getsockname()[1]
        send(f"http://127.0.0.1:{port}")
        thread.join()
        return b"".join(found).replace(b"127.0.0.1:%d" % port, b"127.0.0.1:9100")


def frame_requests(session_path: str, session_id: int) -> list[bytes]:
    """Return requests to a data port as clients and other nodes send them."""
    frame, result = packets()[0], packets()[2]
    client = {"Content-Type": JPEG, "X-Client": "fuzz", "X-Sequence": "3", "X-Timestamp": "1.5"}
    asks: list[Callable[[str], object]] = [
        lambda u: requests.post(u + session_path, pictures()[0], headers=client, timeout=5),
        lambda u: requests.post(
            u + session_path, pictures()[1], headers={"Content-Type": "image/png", "Prefer": "respond-async"}, timeout=5
        ),
        lambda u: requests.post(u + session_path, frame, headers={"Content-Type": PACKET, "Accept": JPEG}, timeout=5),
        lambda u: requests.get(u + session_path + "/results/0", headers={"Prefer": "wait=1"}, timeout=5),
        lambda u: requests.get(u + session_path + "/results?after=99999999", timeout=5),
        lambda u: requests.get(u + "/healthz", timeout=5),
        lambda u: HopClient(u).post(f"/sessions/{session_id}/handlers/0/inputs/0", [frame]),
        lambda u: HopClient(u).post(f"/sessions/{session_id}/results", [result]),
        lambda u: requests.post(u + f"/sessions/{NOBODY}/lost", json={"handler_id": 77, "blame": 1}, timeout=5),
    ]
    return [captured(ask) for ask in asks]


def control_requests() -> list[bytes]:
    """Return requests to a node's control port."""
    plan = bodies()[SessionPlan][0]
    head = {"Content-Type": "application/json"}
    asks: list[Callable[[str], object]] = [
        lambda u: requests.put(f"{u}/sessions/{NOBODY}", plan, headers=head, timeout=5),
        lambda u: requests.get(f"{u}/sessions/{NOBODY}", timeout=5),
        lambda u: requests.post(f"{u}/", older_bodies()[0], headers=head, timeout=5),
        lambda u: requests.post(f"{u}/", older_bodies()[1], timeout=5),
        lambda u: requests.get(f"{u}/metrics", timeout=5),
    ]
    return [captured(ask) for ask in asks]


def coordinator_requests() -> list[bytes]:
    """Return requests to a coordinator."""
    asked, beat = bodies()[SessionRequest][0], bodies()[Heartbeat][0]
    asks: list[Callable[[str], object]] = [
        lambda u: requests.post(f"{u}/sessions?dry_run=1", asked, timeout=5),
        lambda u: requests.post(f"{u}/nodes/{NOBODY}/heartbeat", beat, timeout=5),
        lambda u: requests.post(f"{u}/sessions/{NOBODY}/reallocate", b'{"pin": {"1": 2}}', timeout=5),
        lambda u: requests.get(f"{u}/sessions?limit=5&after=3", timeout=5),
        lambda u: requests.get(f"{u}/sessions/{NOBODY}/frames/7?format=chrome", timeout=5),
        lambda u: requests.get(f"{u}/galleries/default/somebody/one.jpg", timeout=5),
        lambda u: requests.get(f"{u}/dashboard/style.css", headers={"Cookie": "faceservice=1.abc"}, timeout=5),
    ]
    return [captured(ask) for ask in asks]


def collector_requests() -> list[bytes]:
    """Return requests to a collector."""
    asks: list[Callable[[str], object]] = [
        lambda u: requests.post(f"{u}/reports", bodies()[Report][0], timeout=5),
        lambda u: requests.post(f"{u}/", OLDER_REPORT, timeout=5),
        lambda u: requests.get(f"{u}/readyz", timeout=5),
    ]
    return [captured(ask) for ask in asks]
