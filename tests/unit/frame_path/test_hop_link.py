"""A sender that does not wait for each answer, against a played gateway and against the real loop."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from node.gateway.loop import Loop
from node.gateway.tasks import AtOnce
from node.reporting.recorder import Recorder
from node.transport.connection import Connection
from node.transport.hop import HopClient
from node.transport.hop_answers import always
from node.transport.hop_link import HopLink, Parcel
from node.transport.http11 import ACCEPTED, PIPELINED, HttpError, Request
from wire.packet import MEDIA_TYPE

PATIENCE_S = 20.0


def insist(attempt: Callable[[], bool | None], needed: Callable[[], bool], epoch: int) -> bool:
    deadline = threading.Event()
    for _ in range(1000):
        if (done := attempt()) is not None:
            return done
        deadline.wait(0.005)
    raise AssertionError("never taken")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        yield listener


@pytest.fixture
def taken() -> list[int]:
    return []


@pytest.fixture
def link(listener: socket.socket) -> Iterator[HopLink]:
    client = HopClient(f"http://127.0.0.1:{listener.getsockname()[1]}")
    made = HopLink(client, 2, Recorder(1.0), insist, lambda node_id: None, lambda epoch: True)
    yield made
    made.close()


def parcel(number: int, taken: list[int]) -> Parcel:
    body = b"%d" % number
    return Parcel("/p", [body], len(body), 1, taken=lambda at, size: taken.append(number))


def numbers(connection: Connection, count: int) -> list[int]:
    """Read *count* packets without answering."""
    found = []
    for _ in range(count):
        assert connection.read_request() is not None
        found.append(int(connection.read_body()))
    return found


def test_a_cut_connection_sends_again_what_was_not_answered_in_order(
    listener: socket.socket, link: HopLink, taken: list[int]
) -> None:
    """Packets 0 to 6 go out; 0 to 2 are answered, all are heard, the connection is cut: 3 to 6 come again."""
    heard: list[list[int]] = []

    def play() -> None:
        with ExitStack() as stack:
            sock = stack.enter_context(listener.accept()[0])
            first = Connection(sock)
            heard.append(numbers(first, 1))  # the first goes alone, to be measured
            first.accept()
            heard.append(numbers(first, 6))
            first.send(ACCEPTED, ACCEPTED)
        with listener.accept()[0] as sock:
            second = Connection(sock)
            again = []
            for _ in range(4):
                again += numbers(second, 1)
                second.accept()
            heard.append(again)

    player = threading.Thread(target=play)
    player.start()
    for number in range(7):
        link.submit(parcel(number, taken))
    link.settle()
    player.join(PATIENCE_S)
    assert heard == [[0], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6]]
    assert taken == [0, 1, 2, 3, 4, 5, 6]


def test_only_packets_behind_unanswered_ones_say_so(listener: socket.socket, link: HopLink, taken: list[int]) -> None:
    says: list[bool] = []

    def play() -> None:
        with listener.accept()[0] as sock:
            connection = Connection(sock)
            for _ in range(3):
                request = connection.read_request()
                assert request is not None
                assert request.headers["content-type"] == MEDIA_TYPE
                says.append(PIPELINED.lower() in request.headers)
                connection.read_body()
                if len(says) != 2:  # the second and the third are answered together
                    connection.send(ACCEPTED * (1 if len(says) == 1 else 2))

    player = threading.Thread(target=play)
    player.start()
    for number in range(3):
        link.submit(parcel(number, taken))
    link.settle()
    player.join(PATIENCE_S)
    assert says == [False, False, True]
    assert taken == [0, 1, 2]


class Taking(AtOnce):
    """Takes one packet, or refuses it."""

    def __init__(self, length: int, decide: Callable[[int], None]) -> None:
        self.room = memoryview(bytearray(length))
        self._decide = decide

    def complete(self, connection: Connection, wake: Callable[[], None]) -> bool:
        self._decide(int(bytes(self.room)))
        connection.accept()
        return True


@pytest.mark.parametrize("status", [503, 404, 403])
def test_a_refusal_in_mid_pipeline_keeps_the_order(
    listener: socket.socket, link: HopLink, taken: list[int], status: int
) -> None:
    """Each third packet is refused twice: none behind it overtakes it, and none is taken twice."""
    arrived: list[int] = []
    refusals: dict[int, int] = {}

    def decide(number: int) -> None:
        if number % 3 == 2 and refusals.setdefault(number, 0) < 2:
            refusals[number] += 1
            raise HttpError(status, "not now")
        arrived.append(number)

    def tasks(request: Request) -> Taking:
        return Taking(request.content_length, decide)

    def view(request: Request, connection: Connection) -> None:
        raise HttpError(500, "no thread is needed here")

    loop = Loop(listener, tasks, view)
    serving = threading.Thread(target=loop.serve)
    serving.start()
    try:
        for number in range(60):
            link.submit(parcel(number, taken))
        link.settle()
    finally:
        loop.end()
        serving.join(PATIENCE_S)
    assert arrived == taken == list(range(60))
    assert set(refusals.values()) == {2}


def test_what_is_sent_at_once_waits_for_what_is_under_way(
    listener: socket.socket, link: HopLink, taken: list[int]
) -> None:
    arrived: list[int] = []
    loop = Loop(listener, lambda request: Taking(request.content_length, arrived.append), lambda r, c: None)
    serving = threading.Thread(target=loop.serve)
    serving.start()
    try:
        for number in range(5):
            link.submit(parcel(number, taken))
        assert link.send(parcel(5, taken), always)
    finally:
        loop.end()
        serving.join(PATIENCE_S)
    assert arrived == taken == list(range(6))
