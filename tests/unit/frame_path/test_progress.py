"""What a handler's process leaves behind when it dies, and what it tells while it lives."""

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import pytest

from node.processes import control
from node.processes.progress import ProgressFile, progress_path
from node.reporting.recorder import MAX_EVENTS, Recorder
from wire.messages import PacketEvent

CHILD = """
    import os, signal, sys
    from pathlib import Path
    from node.processes.progress import ProgressFile
    file = ProgressFile(Path(sys.argv[1]))
    for sequence in range(5):
        file.begin(sequence, 2)
        file.end(1, sequence)
    file.begin(41, 3)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_the_frame_to_blame(tmp_path: Path) -> None:
    path = progress_path(tmp_path, 7, 3)
    agent = ProgressFile(path, create=True)
    before = time.monotonic()
    assert agent.read().sequence is None
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(CHILD), str(path)], timeout=30)
    assert done.returncode == -9
    found = agent.read()
    assert (found.sequence, found.frames, found.waiting, found.last) == (41, 5, 3, 4)
    assert before <= found.since <= time.monotonic()
    assert ProgressFile(path).frames == 5, "the next process goes on counting"


def test_a_reader_never_sees_half_a_change(tmp_path: Path) -> None:
    """A new sequence with an old time would look like a stuck handler."""
    path = tmp_path / "progress"
    writer, reader = ProgressFile(path, create=True), ProgressFile(path)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            writer.begin(writer.frames, writer.frames)
            writer.end(writer.frames, writer.frames)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            found = reader.read()
            assert found.sequence in (None, found.frames)
            assert found.waiting in (found.frames, found.frames - 1)
    finally:
        stop.set()
        thread.join()


def note(recorder: Recorder, sequence: int) -> None:
    recorder.event(7, 3, sequence, PacketEvent.RECV, 1.0, 100)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.1, 800, 1200), (1.0, 10_000, 10_000)])
def test_frames_are_sampled_alike_on_all_nodes(share: float, low: int, high: int) -> None:
    here, there = Recorder(share), Recorder(share)
    for sequence in range(10_000):
        note(here, sequence)
        note(there, 9_999 - sequence)
    taken = [t.packets if (t := r.take()) else [] for r in (here, there)]
    assert low <= len(taken[0]) <= high
    assert {p.sequence for p in taken[0]} == {p.sequence for p in taken[1]}


def test_events_beyond_the_bound_are_counted() -> None:
    recorder = Recorder(1.0)
    for sequence in range(MAX_EVENTS + 5):
        note(recorder, sequence)
    taken = recorder.take()
    assert taken is not None
    assert (len(taken.packets), taken.packets_lost) == (MAX_EVENTS, 5)
    assert recorder.take() is None


def test_links_and_service_times_are_summed_and_travel() -> None:
    recorder = Recorder(1.0)
    recorder.sent(2, 100, 0.5)
    recorder.sent(2, 50, 0.25)
    recorder.sent(3, 1, 0.0)
    recorder.served(1.0, 1.5)
    taken = recorder.take()
    assert taken is not None
    assert [link[:4] for link in map(msgspec.structs.astuple, taken.links)] == [(2, 2, 150, 750.0), (3, 1, 1, 0.0)]
    assert [(sum(link.seconds.numbers), link.seconds.total_s) for link in taken.links] == [(2, 0.75), (1, 0.0)]
    assert (taken.frames, taken.service_ms, sum(taken.service.numbers)) == (1, 500.0, 1)
    encoded = control._encoder.encode(taken)
    assert control.from_child.decode(encoded) == taken


def test_nothing_is_lost_or_breaks_while_another_thread_takes() -> None:
    recorder = Recorder(1.0)
    total = 20_000

    def work() -> None:
        for number in range(total):
            recorder.sent(number % 50, 1, 0.0)
            recorder.served(0.0, 0.0)

    thread = threading.Thread(target=work)
    thread.start()
    frames = 0
    while thread.is_alive():
        taken = recorder.take()
        frames += taken.frames if taken else 0
    taken = recorder.take()
    assert frames + (taken.frames if taken else 0) == total
