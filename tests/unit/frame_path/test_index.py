"""The result index: what a killed gateway leaves is read whole, up to the record that it was writing."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.gateway import results
from node.gateway.index import IndexFile, Record, decode, encode
from node.gateway.results import Picture, Result
from wire.messages import FrameStatus

records = st.lists(
    st.builds(
        Record,
        st.builds(
            Result,
            sequence=st.integers(0, 2**62),
            status=st.sampled_from(FrameStatus),
            broken=st.booleans(),
            ended_by=st.none() | st.integers(0, 2**31),
            reason=st.none() | st.text(max_size=20),
            latency_ms=st.floats(0, 1e6),
            encoded=st.binary(max_size=50),
            picture=st.none() | st.builds(Picture, st.text(max_size=20), st.binary(max_size=200)),
            finished=st.just(0.0),
        ),
        st.none() | st.tuples(st.text(max_size=20), st.text(max_size=20)),
        st.integers(0, 2**40),
    ),
    max_size=8,
)


def record(sequence: int, finished: float = 0.0, size: int = 0) -> Record:
    picture = Picture("image/jpeg", bytes(size)) if size else None
    result = Result(sequence, FrameStatus.OK, False, None, None, 1.0, b"{}", picture, finished)
    return Record(result, ("me", str(sequence)), sequence + 1)


def written(found: list[Record]) -> bytes:
    return b"".join(b"".join(encode(one)) for one in found)


@settings(max_examples=150)
@given(records, st.integers(0, 4000))
def test_a_file_that_ends_anywhere_gives_every_whole_record(found: list[Record], end: int) -> None:
    data = written(found)[:end]
    whole = [one for number, one in enumerate(found) if len(written(found[: number + 1])) <= end]
    assert [one for one, _ in decode(data)] == whole


@settings(max_examples=150)
@given(records, st.data())
def test_bytes_that_are_not_ours_are_never_taken_for_a_result(found: list[Record], data: st.DataObject) -> None:
    """A changed byte costs what follows it; only a picture's bytes go unchecked."""
    whole = bytearray(written(found))
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    for one, (read, _) in zip(found, decode(bytes(whole)), strict=False):
        assert (read.result.encoded, read.key, read.delivered) == (one.result.encoded, one.key, one.delivered)


def test_a_writer_goes_on_behind_the_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "results-7"
    index = IndexFile(path)
    index.add(record(0))
    with path.open("ab") as file:
        file.write(written([record(1)])[:-1])  # torn
    after = IndexFile(path)
    assert [r.result.sequence for r in after.found] == [0]
    after.add(record(2))
    assert [r.result.sequence for r in IndexFile(path).found] == [0, 2]


@pytest.mark.parametrize(("pause", "size"), [(0.0, 0), (0.0, 1 << 20), (3.0, 0)])
def test_what_must_be_kept_is_there_and_little_more(pause: float, size: int) -> None:
    """By number, by bytes, by age: at least that much, at most about twice."""
    original = results.KEEP_RESULTS, results.KEEP_BYTES
    results.KEEP_RESULTS, results.KEEP_BYTES = 30, 4 << 20
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results-7"
            index = IndexFile(path)
            for number in range(100):
                index.add(record(number, number * pause, size))
            found = [r.result.sequence for r in IndexFile(path).found]
            must = 4 if size else 20 if pause else 30
            assert found == list(range(found[0], 100))
            assert must <= len(found) <= 2 * must + 2
            index.close(remove=True)
            assert list(Path(folder).iterdir()) == []
    finally:
        results.KEEP_RESULTS, results.KEEP_BYTES = original


def test_a_full_disk_costs_repeats_but_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results-7"
    index = IndexFile(path)
    index.add(record(0))
    real = os.writev

    def half(file: int, pieces: list[bytes]) -> int:
        return real(file, [pieces[0][:5]])

    def full(file: int, pieces: list[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for broken in (half, full):
        monkeypatch.setattr(os, "writev", broken)
        index.add(record(1))
    monkeypatch.undo()
    index.add(record(2))
    assert [r.result.sequence for r in IndexFile(path).found] == [0, 2]
