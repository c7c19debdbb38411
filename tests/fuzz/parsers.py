"""The real parsers, each with the errors that it may raise, and nothing else."""

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

from collector import older as older_report
from handlers import codec
from handlers.base import FrameError, Unavailable
from handlers.hosts import check_host
from handlers.pictures import decode_picture
from handlers.sources import understand
from node import older
from node.processes import control
from node.sessions import UnknownSession
from node.transport.connection import Connection
from node.transport.hop_answers import Answers
from node.transport.http11 import Disconnected, HttpError, parse_head
from tests.daemons import ROOT
from tests.fuzz import seeds
from tests.fuzz.mutate import spoilt, spoilt_request
from wire import packet
from wire.accept_filter import ahead_of
from wire.messages import Heartbeat, NodeSession, Report, SessionPlan, SessionRequest
from wire.packet import PacketError
from wire.web import Problem, decode

MAX_BODY = 1 << 20  # bytes that a connection's target takes


@dataclass(frozen=True)
class Parser:
    """A target: how it is fed, how its input is spoilt, what it may raise, and its share of the cases."""

    name: str
    feed: Callable[[bytes], object]
    declared: tuple[type[Exception], ...]
    corpus: Sequence[bytes]
    share: int
    spoil: Callable[[Random, Sequence[bytes]], bytes] = spoilt


def feed_packet(data: bytes) -> object:
    """Decode as gateways do, then make values as handlers' processes do."""
    arrived = packet.decode(memoryview(data))
    value = codec.from_part(arrived.header.payload, arrived.buffers) if arrived.header.payload else None
    return packet.encode(arrived.header, arrived.buffers), value


@contextlib.contextmanager
def _said(data: bytes) -> Iterator[socket.socket]:
    """Yield a socket whose peer has said *data*, and says no more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            ours.send(data)
        ours.shutdown(socket.SHUT_WR)
        yield theirs


def feed_connection(data: bytes) -> int:
    """Have the data port's reader take *data*, which ends there: heads and bodies until an error or the end."""
    served = 0
    with _said(data) as peer:
        connection = Connection(peer, silence_s=2.0)
        while (request := connection.read_request()) is not None:
            if request.content_length > MAX_BODY:
                raise HttpError(413, "too large", close=True)
            connection.read_body()
            served += 1
    return served


def feed_accept_filter(data: bytes) -> bool:
    """Have the servers' accept filter look for a request in *data*, which ends there."""
    with _said(data) as peer, ahead_of(peer, None) as sock:
        return sock.look()


def feed_answers(data: bytes) -> None:
    """Have a sender read *data* as a gateway's answers."""
    with _said(data) as peer:
        reader = Answers(peer)
        while reader.next() is not None:
            continue


def feed_json(kind: type) -> Callable[[bytes], object]:
    """Return what decodes a body of *kind* and encodes what came out."""
    return lambda data: msgspec.json.encode(decode(kind, data))


class Nobody:
    """A node without sessions, which takes any plan."""

    def put(self, session_id: int, plan: SessionPlan, *, older: bool, entry_port: int | None) -> NodeSession:
        raise UnknownSession(str(session_id))

    def session(self, session_id: int) -> NodeSession:
        raise UnknownSession(str(session_id))

    def start_session(self, session_id: int) -> NodeSession:
        raise UnknownSession(str(session_id))

    def stop_session(self, session_id: int) -> NodeSession:
        raise UnknownSession(str(session_id))

    def delete(self, session_id: int) -> bool:
        return False


def feed_older(data: bytes) -> object:
    """Carry out a request of the older protocol where nothing runs: its answer is always one."""
    host = older.Host(1, "http://127.0.0.1:9", {30000: (0, 1), 30001: (1, 0)})
    return msgspec.json.encode(older.answer(Nobody(), host, data))


def feed_older_report(data: bytes) -> object:
    """Convert a report of the older form."""
    return msgspec.json.encode(older_report.convert(decode(older_report.OlderReport, data), 1))


def feed_message(data: bytes) -> object:
    """Read what a handler's process may send to the agent."""
    return control.read(data, control.from_child)


def feed_url(data: bytes) -> None:
    """Look at a URL or source as tx and capture do."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(Unavailable):
        check_host(text, ("http", "https"), ["127.0.0.1", "camera.lan"], "tx")
    understand(text, [ROOT / "samples"])


def parsers() -> list[Parser]:
    """Return all targets; the shares are of 1,000 cases."""
    heads = [data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for data in _requests()]
    kinds: tuple[Any, ...] = (SessionRequest, SessionPlan, Heartbeat, Report)
    return [
        Parser("packet", feed_packet, (PacketError,), seeds.packets(), 270),
        Parser("head", parse_head, (HttpError,), heads, 200, spoilt_request),
        Parser("connection", feed_connection, (HttpError, Disconnected), _requests(), 150, spoilt_request),
        Parser("accept filter", feed_accept_filter, (ConnectionResetError,), _requests(), 30, spoilt_request),
        Parser("answers", feed_answers, (Disconnected,), seeds.answers(), 50, spoilt_request),
        *(Parser(k.__name__, feed_json(k), (Problem,), seeds.bodies()[k], 40) for k in kinds),
        Parser("older protocol", feed_older, (), seeds.older_bodies(), 40),
        Parser("older report", feed_older_report, (Problem,), [seeds.OLDER_REPORT], 25),
        Parser(
            "child's message",
            lambda data: control.read(data, control.from_child),
            (msgspec.DecodeError,),
            seeds.messages(),
            35,
        ),
        Parser("URL", feed_url, (Unavailable,), seeds.URLS, 20),
        Parser("picture", decode_picture, (FrameError,), seeds.pictures(), 20),
    ]


@lru_cache
def _requests() -> list[bytes]:
    return seeds.frame_requests("/sessions/5/a-secret-key", 5)


def raised(parser: Parser, data: bytes) -> Exception | None:
    """Feed *data*; returns an error that is not declared, None when all is well."""
    try:
        parser.feed(data)
    except parser.declared:
        return None
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return error
    return None
