"""Who follows a killed receiver gets what is sent to its address, whatever became of what the dead one left."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from node.transport.channel import SHM, Channel, Outlet
from node.transport.incarnations import Incarnations, current
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.test_channel import DEPTH, Peer, put, put_soon


def test_a_sender_follows_to_the_inbox_that_was_opened_last(place: Place) -> None:
    first, outlet = place.channel.inbox("a/b", DEPTH), place.channel.outlet("a/b", DEPTH)
    assert put(outlet, b"1")
    assert bytes(first.receive(1.0) or b"") == b"1"
    second = place.channel.inbox("a/b", DEPTH)
    assert put(outlet, b"2")
    assert first.receive(0) is None
    assert bytes(second.receive(1.0) or b"") == b"2"
    first.close()
    assert put(outlet, b"3"), "the end of the first is none of the second's"
    assert bytes(second.receive(1.0) or b"") == b"3"
    second.close()
    assert not put(outlet, b"4"), "nobody receives any more"
    outlet.close()


def test_room_in_the_inbox_of_a_predecessor_is_refused_and_stays_whole(place: Place) -> None:
    """A handler draws into the next one's inbox while that one dies: what it has drawn is sent as a copy."""
    first, outlet = place.channel.inbox("a", DEPTH), place.channel.outlet("a", DEPTH)
    slot = outlet.loan(5)
    assert slot is not None
    view = slot.view
    view[:] = b"drawn"
    second = place.channel.inbox("a", DEPTH)
    assert put(outlet, b"x"), "the outlet has left the first"
    assert not slot.send()
    assert bytes(view) == b"drawn"
    assert put(outlet, bytes(view))
    assert [bytes(second.receive(1.0) or b"") for _ in range(2)] == [b"x", b"drawn"]
    first.close()
    second.close()
    outlet.close()


@pytest.mark.parametrize("lost", ["*.data", "*.dynamic", "*.service"])
def test_files_that_vanished_do_not_cut_off_who_follows(place: Place, lost: str) -> None:
    """What a living process keeps mapped works on; a newcomer by the same names would be alone, and nobody told."""
    peer, outlet = Peer(place, "a"), place.channel.outlet("a", DEPTH)
    assert put(outlet, b"before")
    assert peer.ask(1) == said(b"before")
    files = [*SHM.glob(f"{place.name}_{lost}"), *(place.path / "channel").rglob(lost)]
    assert files, "or the test removes nothing"
    for path in files:
        path.unlink()
    peer.kill()
    peer = Peer(place, "a")
    for n in range(3 * DEPTH):
        assert put_soon(outlet, b"%d" % n, place)
        assert peer.ask(1) == said(b"%d" % n)
    peer.leave()
    outlet.close()


def test_restarts_and_sweeps_at_any_moment_cut_nobody_off(place: Place) -> None:
    """Two receivers and another sender are killed and started while two threads sweep and packets go out."""
    rng, numbers = random.Random(5), count()
    addresses = ("a", "b")
    outlets = {address: place.channel.outlet(address, DEPTH) for address in addresses}
    peers = {address: Peer(place, address) for address in addresses}
    with sweeping(place):
        for _ in range(3):
            for address in rng.sample(addresses, 2):
                for _ in range(rng.randrange(2 * DEPTH)):
                    put(outlets[address], bytes(rng.choice([10, 5000, 70_000])))
                peers[address].kill()
                time.sleep(rng.choice([0, 0.001, 0.01]))
                put(outlets[address], b"to nobody")
                peers[address] = Peer(place, address)
            for address, peer in peers.items():
                assert arrives(outlets[address], peer, next(numbers), place)
    for peer in peers.values():
        peer.leave()
    for outlet in outlets.values():
        outlet.close()


def test_withdrawing_spares_the_successor(tmp_path: Path) -> None:
    links = Incarnations(tmp_path / "links")
    where = links.path("session/1/handler/2")
    assert current(where) is None
    links.announce("session/1/handler/2", "one")
    links.announce("session/1/handler/2", "two")
    links.withdraw("session/1/handler/2", "one")
    assert current(where) == "two"
    links.withdraw("session/1/handler/2", "two")
    assert current(where) is None
    links.withdraw("session/1/handler/2", "two")
    assert list((tmp_path / "links").iterdir()) == []


def said(data: bytes) -> object:
    """What the other process says of *data*."""
    return len(data), hashlib.sha256(data).hexdigest()


def arrives(outlet: Outlet, peer: Peer, number: int, place: Place) -> bool:
    """Send a packet of its own; whether it is the first that *peer* gets."""
    data = b"packet %d" % number
    return put_soon(outlet, data, place) and peer.ask(1) == said(data)


@contextmanager
def sweeping(place: Place) -> Iterator[None]:
    """Sweep all the time, by two members of the channel, of which one comes and goes."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(0.001):
            place.channel.sweep_dead()

    def join_and_leave() -> None:
        while not over.wait(0.01):
            other = Channel(place.name, place.path)
            inbox, outlet = other.inbox("gateway", DEPTH), other.outlet("a", DEPTH)
            other.sweep_dead()
            inbox.close()
            outlet.close()
            other.close()

    threads = [threading.Thread(target=work, daemon=True) for work in (sweep, join_and_leave)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
