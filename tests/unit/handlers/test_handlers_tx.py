"""Tx: in order, again after errors that may pass, bounded, and every drop is counted."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from handlers.base import Unavailable
from handlers.codec import from_part
from handlers.hosts import is_allowed
from handlers.rx import RxHandler
from handlers.tx import TxHandler, check_url
from handlers.types import Box, Boxes, Encoded
from tests.handler_support import Make
from wire import packet
from wire.tx_targets import TxTarget, find


class Receiver(ThreadingHTTPServer):
    """Keeps what it gets; answers with the statuses in turn, then 202; waits while held."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, str]] = []
        self.shown: list[str | None] = []  # of each post: Authorization
        self.statuses: list[int] = []
        self.open = threading.Event()
        self.open.set()
        super().__init__(("127.0.0.1", 0), Take)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.open.wait(10)
        self.server.shown.append(self.headers["Authorization"])
        status = self.server.statuses.pop(0) if self.server.statuses else 202
        if status == 202:
            self.server.got.append((self.headers["Content-Type"], body, self.headers["X-Sequence"]))
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.open.set()
        made.shutdown()


def test_everything_arrives_in_order_with_its_media_type(make: Make, receiver: Receiver) -> None:
    tx = make(TxHandler, url=receiver.url)
    tx.execute(Encoded(memoryview(b"a picture"), "image/png"))
    tx.execute(Boxes([Box("obama", 1.5, 1, 2, 3, 4, distance=0.25, embedding=np.zeros(128))]))
    tx.execute(np.zeros((8, 8, 3), np.uint8))
    tx.finish()
    assert [(kind, number) for kind, _, number in receiver.got] == [
        ("image/png", "0"),
        ("application/json", "1"),
        ("image/jpeg", "2"),
    ]
    assert receiver.got[0][1] == b"a picture" and receiver.got[2][1].startswith(b"\xff\xd8")
    assert json.loads(receiver.got[1][1]) == {
        "boxes": [{"label": "obama", "score": 1.5, "x": 1, "y": 2, "w": 3, "h": 4, "distance": 0.25}]
    }
    assert (tx.sent, tx.dropped) == (3, 0)


def test_errors_that_may_pass_are_tried_again_and_refusals_are_not(make: Make, receiver: Receiver) -> None:
    receiver.statuses = [503, 429, 202, 404, 307]
    tx = make(TxHandler, url=receiver.url)
    for body in (b"first", b"second", b"third", b"fourth"):
        tx.execute(Encoded(body))
    tx.finish()
    assert [body for _, body, _ in receiver.got] == [b"first", b"fourth"]
    assert (tx.sent, tx.dropped) == (2, 2)


def test_what_is_shown_to_a_target_is_asked_for_with_each_post(make: Make, receiver: Receiver) -> None:
    """It may change at any time; nothing is shown to whom the node does not name."""
    known = [TxTarget(receiver.url.removesuffix("/hook"), "first", "")]
    tx = make(TxHandler, url=receiver.url)
    assert tx.context.tx_target(receiver.url) is None
    tx.context = dataclasses.replace(tx.context, tx_target=lambda url: find(known, url))
    targets = (*known, TxTarget(known[0].url, "second", ""), TxTarget("http://127.0.0.1:1", "not for this", ""))
    for count, target in enumerate(targets, 1):
        known[0] = target
        tx.execute(Encoded(b"x"))
        deadline = time.monotonic() + 10
        while tx.sent < count and time.monotonic() < deadline:
            time.sleep(0.01)
    tx.finish()
    assert receiver.shown == ["Bearer first", "Bearer second", None]


def test_a_slow_receiver_costs_counted_frames_and_no_memory(make: Make, receiver: Receiver) -> None:
    receiver.open.clear()
    tx = make(TxHandler, url=receiver.url, queue_size=2, patience_s=0.0)
    for index in range(10):
        tx.execute(Encoded(str(index).encode()))
    assert tx._bodies.qsize() == 2 and tx.dropped >= 7
    receiver.open.set()
    tx.finish()
    assert tx.sent + tx.dropped == 10 and tx.sent == len(receiver.got)


def test_a_receiver_that_is_away_does_not_stop_the_handler(make: Make) -> None:
    tx = make(TxHandler, url="http://127.0.0.1:9/none", retries=0)
    tx.execute(Encoded(b"x"))
    tx.finish()
    assert (tx.sent, tx.dropped) == (0, 1)


@pytest.mark.parametrize("url", ["", "ftp://host/x", "http://", "file:///etc/passwd", "host:80"])
def test_only_web_addresses_are_posted_to(make: Make, url: str) -> None:
    with pytest.raises(Unavailable, match="http"):
        make(TxHandler, url=url)


def test_hosts_that_are_not_allowed_are_refused() -> None:
    check_url("http://a:1/x", frozenset({"a"}))
    with pytest.raises(Unavailable, match="may not reach b "):
        check_url("http://b:1/x", frozenset({"a"}))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("camera.lan", True),
        ("Camera.LAN.", True),
        ("other.lan", False),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("127.0.0.1", False),
        ("127.1", False),
        ("2130706433", False),
        ("::ffff:10.1.2.3", False),
        ("fd00::5", True),
        ("192.168.1.5", True),
        ("192.168.1.6", False),
        ("", False),
    ],
)
def test_hosts_are_names_addresses_and_networks(host: str, allowed: bool) -> None:
    """Other ways to write an address, as C libraries read them, are names that nobody has allowed."""
    assert is_allowed(host, {"camera.lan", "10.0.0.0/8", "fd00::/8", "192.168.1.5"}) is allowed
    assert is_allowed(host, {"*"}) is bool(host)


def test_pixels_and_boxes_travel_exactly_when_they_must(make: Make, receiver: Receiver) -> None:
    tx = make(TxHandler, url=receiver.url, lossless=True)
    pixels = np.random.default_rng(3).integers(0, 255, (5, 7, 3), np.uint8)
    tx.execute(pixels)
    tx.execute(Boxes([Box("face", 1.0, 1, 2, 3, 4, crop=pixels, crop_x=0, crop_y=0, embedding=np.ones(4))]))
    tx.execute(Encoded(b"jpeg"))
    tx.finish()
    assert [kind for kind, _, _ in receiver.got] == [packet.MEDIA_TYPE, packet.MEDIA_TYPE, "image/jpeg"]
    image, boxes = (packet.decode(memoryview(body)) for _, body, _ in receiver.got[:2])
    assert (from_part(image.header.payload, image.buffers) == pixels).all()
    (box,) = from_part(boxes.header.payload, boxes.buffers)
    assert (box.crop == pixels).all() and box.embedding.tolist() == [1.0] * 4


def test_rx_hands_on_what_it_gets(make: Make) -> None:
    value = Encoded(b"x")
    assert make(RxHandler).execute(value) is value
