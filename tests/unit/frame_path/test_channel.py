"""Shared memory between real processes: nothing lost in silence, nothing left behind, no death that spreads."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from node.transport.addresses import GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS
from node.transport.channel import MAX_SENDERS, Channel, Outlet, sweep
from tests.unit.frame_path.channel_child import answer
from tests.unit.frame_path.conftest import Place

DEPTH = 4
MIB = 1 << 20


class Peer:
    """A receiving process."""

    def __init__(self, place: Place, address: str) -> None:
        context = get_context("spawn")
        self.pipe: Connection
        self.pipe, far = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=answer, args=(far, place.name, str(place.path), address, DEPTH), daemon=True
        )
        self.process.start()
        far.close()
        assert self.ask(None) == "ready"

    def ask(self, wish: object) -> object:
        if wish is not None:
            self.pipe.send(wish)
        assert self.pipe.poll(20), "the other process says nothing"
        return self.pipe.recv()

    def kill(self) -> None:
        pid = self.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.process.join(10)

    def leave(self) -> None:
        assert self.ask(0) == "gone"
        self.process.join(10)
        assert self.process.exitcode == 0


def put(outlet: Outlet, data: bytes) -> bool:
    slot = outlet.loan(len(data))
    if slot is None:
        return False
    slot.view[:] = data
    return slot.send()


def put_soon(outlet: Outlet, data: bytes, place: Place, patience_s: float = 5.0) -> bool:
    """Send as soon as the inbox takes it."""
    deadline = time.monotonic() + patience_s
    while not put(outlet, data):
        if time.monotonic() > deadline:
            return False
        place.channel.sweep_dead()
    return True


def test_packets_of_any_size_reach_another_process(place: Place) -> None:
    """A camera may change from thumbnails to 8K and back."""
    peer, outlet = Peer(place, "a"), place.channel.outlet("a", DEPTH)
    for size in (1, 4096, 4097, 25 * MIB, 63, 1, 5 * MIB, 1):
        data = os.urandom(min(size, 1000)) * -(-size // 1000)
        data = data[:size]
        assert put_soon(outlet, data, place)
        assert peer.ask(1) == (size, hashlib.sha256(data).hexdigest())
    peer.leave()
    outlet.close()


def test_a_full_inbox_refuses_and_keeps_what_it_has(place: Place) -> None:
    inbox, outlet = place.channel.inbox("a", DEPTH), place.channel.outlet("a", DEPTH)
    assert [put(outlet, bytes([n])) for n in range(DEPTH + 2)] == [True] * DEPTH + [False] * 2
    assert [bytes(inbox.receive(0) or b"") for _ in range(DEPTH)] == [bytes([n]) for n in range(DEPTH)]
    assert inbox.receive(0) is None
    assert put(outlet, b"x"), "room again"
    inbox.close()
    outlet.close()


def test_an_inbox_that_is_not_there_refuses(place: Place) -> None:
    outlet = place.channel.outlet("nobody", DEPTH)
    assert not put(outlet, b"x")
    inbox = place.channel.inbox("nobody", DEPTH)
    assert put(outlet, b"y")
    assert bytes(inbox.receive(1.0) or b"") == b"y", "what was refused does not come later"
    inbox.close()
    outlet.close()


def test_a_received_view_stays_whole_while_others_come(place: Place) -> None:
    inbox, outlet = place.channel.inbox("a", DEPTH), place.channel.outlet("a", DEPTH)
    assert put(outlet, b"first" * 100)
    held = inbox.receive(1.0)
    for n in range(50):
        assert put(outlet, bytes([n]) * 500)
        assert inbox.receive(1.0) is not None
    inbox.close()
    outlet.close()
    assert held is not None
    assert held.readonly
    assert bytes(held) == b"first" * 100, "its slot lives as long as the view, even past the ports"


def test_waiting_ends_when_a_packet_comes(place: Place) -> None:
    inbox, outlet = place.channel.inbox("a", DEPTH), place.channel.outlet("a", DEPTH)
    timer = threading.Timer(0.1, put, (outlet, b"x"))
    timer.start()
    start = time.monotonic()
    assert inbox.receive(10.0) is not None
    assert time.monotonic() - start < 5
    timer.join()
    for _ in range(DEPTH):
        assert put(outlet, b"x")
    for _ in range(DEPTH):
        assert inbox.receive(1.0) is not None
    start = time.monotonic()
    assert inbox.receive(0.2) is None
    assert 0.2 <= time.monotonic() - start < 2, "notices of packets that were there at once do not end a later wait"
    inbox.close()
    outlet.close()


def test_a_sender_survives_receivers_that_are_killed_while_they_hold_packets(place: Place) -> None:
    outlet = place.channel.outlet("a", DEPTH)
    for _ in range(3):
        peer = Peer(place, "a")
        for _ in range(2):
            assert put_soon(outlet, b"x" * MIB, place)
            peer.ask("hold")
        assert put_soon(outlet, b"unread", place)
        peer.kill()
        place.channel.sweep_dead()
    peer = Peer(place, "a")
    for n in range(3 * DEPTH):
        assert put_soon(outlet, b"%d" % n, place)
        assert peer.ask(1) == (len(b"%d" % n), hashlib.sha256(b"%d" % n).hexdigest())
    peer.leave()
    outlet.close()


def test_nothing_is_left_in_shared_memory_after_the_sweep(place: Place) -> None:
    peer, outlet = Peer(place, "a"), place.channel.outlet("a", DEPTH)
    assert put_soon(outlet, b"x" * MIB, place)
    peer.ask("hold")
    peer.kill()
    assert place.left(), "or the test looks at the wrong place"
    outlet.close()
    place.channel.close()
    sweep(place.name, place.path)
    assert place.left() == []
    assert not (place.path / "channel").exists()


def test_the_sweep_of_one_channel_leaves_others_alone(place: Place) -> None:
    """Several agents live on one machine; one's name may begin like another's."""
    longer = Channel(place.name + "x", place.path / "other")
    inbox, outlet = longer.inbox("a", DEPTH), longer.outlet("a", DEPTH)
    place.channel.close()
    sweep(place.name, place.path)
    assert put(outlet, b"x")
    assert inbox.receive(1.0) is not None
    inbox.close()
    outlet.close()
    longer.close()
    del inbox, outlet, longer  # the library writes its last file when its last object goes
    sweep(place.name + "x", place.path / "other")


CLOSED = """
    import sys, threading
    from pathlib import Path
    from node.transport.channel import Channel
    channel = Channel(sys.argv[1], Path(sys.argv[2]))
    inbox, outlet = channel.inbox("a", 4), channel.outlet("a", 4)
    slot = outlet.loan(100)
    outlet.close()
    outlet.close()
    slot.view[:] = bytes(100)
    print(slot.send(), outlet.loan(5), inbox.receive(0))
"""


def test_a_thread_that_still_uses_a_closed_outlet_is_refused(place: Place) -> None:
    """A session is deleted while clients post to it; the library would abort the whole gateway."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLOSED), place.name, str(place.path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "False None None\n"), done.stderr


def test_the_exits_of_many_sessions_reach_their_gateway(place: Place) -> None:
    """Each is a process of its own; all send to the one inbox of their node."""
    inbox = place.channel.inbox(GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS)
    exits = [Channel(place.name, place.path) for _ in range(MAX_SENDERS + 8)]
    outlets = [one.outlet(GATEWAY, GATEWAY_DEPTH, GATEWAY_SENDERS) for one in exits]
    for number, outlet in enumerate(outlets):
        assert put(outlet, bytes([number]))
        received = inbox.receive(5.0)
        assert received is not None
        assert bytes(received) == bytes([number])
    for outlet in outlets:
        outlet.close()
    for one in exits:
        one.close()
    inbox.close()
