"""The spool: order, bound, and what a crash leaves behind."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.reporting import spool as module
from node.reporting.spool import KEPT_ASIDE, Spool


def drain(spool: Spool) -> list[bytes]:
    found = []
    while (waiting := spool.first()) is not None:
        found.append(waiting[1])
        spool.remove(waiting[0])
    return found


def test_reports_come_out_in_order_also_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1000)
    spool.put(b"a")
    spool.put(b"b")
    again = Spool(tmp_path / "spool", 1000)
    again.put(b"c")
    assert drain(again) == [b"a", b"b", b"c"]
    assert len(Spool(tmp_path / "spool", 1000)) == 0


def test_the_oldest_make_room_and_are_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 30)
    for n in range(5):
        spool.put(b"%d" % n * 10)
    assert spool.dropped == 2
    assert spool.size == 30
    assert drain(spool) == [b"2" * 10, b"3" * 10, b"4" * 10]


def test_a_half_written_file_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "0000000000000001.tmp").write_bytes(b"hal")
    spool = Spool(tmp_path, 100)
    assert spool.first() is None
    assert not list(tmp_path.glob("*.tmp"))


def test_what_is_set_aside_leaves_the_queue_and_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    for n in range(KEPT_ASIDE + 3):
        spool.put(b"%d" % n)
    names = []
    while (waiting := spool.first()) is not None:
        names.append(spool.set_aside(waiting[0]).name)
    assert sorted(f.name for f in (tmp_path / "aside").iterdir()) == names[3:]
    again = Spool(tmp_path, 10_000)
    again.put(b"new")
    waiting = again.first()
    assert waiting is not None
    assert waiting[0] > names[-1]  # numbers are not used again, or a later refusal would overwrite this one


def test_a_report_that_made_room_while_it_was_sent_may_be_removed_or_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10)
    spool.put(b"1" * 10)
    waiting = spool.first()
    assert waiting is not None
    spool.put(b"2" * 10)
    spool.remove(waiting[0])
    spool.set_aside(waiting[0])
    assert drain(spool) == [b"2" * 10]


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(50, 120))
def test_never_more_than_the_limit_and_always_the_newest(sizes: list[int], limit: int) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder), limit)
        for n, size in enumerate(sizes):
            spool.put(bytes([n]) * size)
            assert spool.size <= limit
        kept = drain(spool)
        assert [data[0] for data in kept] == list(range(len(sizes) - len(kept), len(sizes)))
        assert len(kept) + spool.dropped == len(sizes)


def test_while_the_disk_takes_nothing_reports_wait_in_memory_in_their_turn(tmp_path: Path) -> None:
    folder, away = tmp_path / "spool", tmp_path / "away"
    spool = Spool(folder, 1000)
    assert spool.put(b"a") is None
    folder.rename(away)
    assert isinstance(spool.put(b"b"), OSError)
    assert isinstance(spool.put(b"c"), OSError)
    assert (len(spool), spool.size, spool.dropped) == (3, 3, 0)
    away.rename(folder)
    assert spool.put(b"d") is None
    assert len(list(folder.glob("*.json"))) == 4, "all are on the disk now"
    assert drain(Spool(folder, 1000)) == [b"a", b"b", b"c", b"d"]


def test_memory_is_bounded_and_the_oldest_there_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 25)
    folder = tmp_path / "spool"
    spool = Spool(folder, 1000)
    folder.rename(tmp_path / "away")
    for n in range(5):
        spool.put(b"%d" % n * 10)
    assert spool.dropped == 3
    assert drain(spool) == [b"3" * 10, b"4" * 10]


def test_a_file_that_cannot_be_removed_is_not_sent_again_and_goes_later(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, 1000)
    spool.put(b"a")
    waiting = spool.first()
    assert waiting is not None
    (folder / waiting[0]).unlink()
    (folder / waiting[0]).mkdir()  # which unlink() refuses
    spool.remove(waiting[0])
    assert spool.first() is None
    (folder / waiting[0]).rmdir()
    (folder / waiting[0]).write_bytes(b"a")
    assert spool.put(b"b") is None
    assert [f.read_bytes() for f in folder.glob("*.json")] == [b"b"]
