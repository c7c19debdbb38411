"""What clients get: one result of several exits, its honest status, and how long it is kept."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.gateway import results
from node.gateway.results import Heading, Kept, Picture, Piece, Result, compose, failure, piece_of
from wire.messages import FrameStatus
from wire.packet import BoxesPart, BoxPart, EmptyPart, EncodedPart, Header, Packet, Span

HEADING = Heading(session_id=7, sequence=5, epoch=3, timestamp=1.5, latency_ms=12.3456, finished=100.0)
EARLY, LATE = Span(1, 1, 0.0, 1.0, 2.0, 10), Span(2, 1, 2.0, 3.0, 4.0, 20)


def boxes(*labels: str) -> BoxesPart:
    return BoxesPart(boxes=[BoxPart(label=n, score=0.5, x=1, y=2, w=3, h=4) for n in labels])


def empty(status: Any, reason: str | None = None, *, broken: bool = False) -> EmptyPart:
    return EmptyPart(status=status, ended_by=9, reason=reason, broken=broken)


def piece(part: Any, *trace: Span, picture: Picture | None = None) -> Piece:
    return Piece(part, picture, list(trace))


def test_exits_make_one_result_together() -> None:
    picture = Picture("image/jpeg", b"jpeg")
    result = compose(
        HEADING, [piece(boxes("a"), EARLY, LATE), piece(boxes("b"), EARLY), piece(None, picture=picture)], "http://p"
    )
    assert json.loads(result.json()) == {
        "session_id": 7,
        "sequence": 5,
        "epoch": 3,
        "timestamp": 1.5,
        "status": "ok",
        "boxes": [{"label": n, "score": 0.5, "x": 1, "y": 2, "w": 3, "h": 4} for n in "ab"],
        "image": {"media_type": "image/jpeg", "bytes": 4, "url": "http://p"},
        "trace": [
            {"handler_id": 1, "node_id": 1, "received": 0.0, "start": 1.0, "end": 2.0, "bytes": 10},
            {"handler_id": 2, "node_id": 1, "received": 2.0, "start": 3.0, "end": 4.0, "bytes": 20},
        ],
        "latency_ms": 12.346,
    }
    assert (result.http_status, result.picture) == (200, picture)


@pytest.mark.parametrize(
    ("parts", "status", "http"),
    [
        ([boxes("a")], "ok", 200),
        ([empty("ok")], "ok", 200),
        ([boxes("a"), empty("dropped", "late")], "dropped", 503),
        ([empty("dropped"), empty("failed", "no picture")], "failed", 422),
        ([empty("failed", "bug", broken=True), boxes("a")], "failed", 500),
        ([], "ok", 200),
    ],
)
def test_the_worst_word_counts_and_the_status_is_honest(parts: list[Any], status: str, http: int) -> None:
    result = compose(HEADING, [piece(p) for p in parts], "")
    assert (result.body["status"], result.http_status) == (status, http)


def test_who_ended_the_frame_and_why() -> None:
    body = compose(HEADING, [piece(empty("failed", "no picture"))], "").body
    assert (body["ended_by"], body["reason"]) == (9, "no picture")
    assert "reason" not in compose(HEADING, [piece(empty("ok"))], "").body


@pytest.mark.parametrize(
    ("status", "broken", "http"),
    [(FrameStatus.DROPPED, False, 503), (FrameStatus.FAILED, False, 422), (FrameStatus.FAILED, True, 500)],
)
def test_a_frame_that_no_exit_reports(status: FrameStatus, broken: bool, http: int) -> None:
    result = failure(HEADING, status, "why", broken=broken)
    assert (result.http_status, result.body["reason"], result.body["boxes"]) == (http, "why", [])


def test_a_number_that_json_has_not_is_null() -> None:
    part = BoxesPart(boxes=[BoxPart(label="a", score=float("nan"), x=0, y=0, w=0, h=0, distance=float("inf"))])
    box = json.loads(compose(HEADING, [piece(part)], "").json())["boxes"][0]
    assert box["score"] is None


def test_a_piece_holds_no_shared_memory() -> None:
    memory = bytearray(b"jpeg")
    header = Header(session_id=7, epoch=3, sequence=5, timestamp=0.0, origin=1, payload=EncodedPart("image/jpeg", 0))
    found = piece_of(Packet(header, [memoryview(memory)], 4))
    memory[:] = b"gone"
    memory.clear()  # impossible while a view is held
    assert found.picture == Picture("image/jpeg", b"jpeg")


def kept_result(sequence: int, finished: float, size: int = 0) -> Result:
    picture = Picture("image/jpeg", bytes(size)) if size else None
    return Result(sequence, FrameStatus.OK, False, None, None, 1.0, b"{}", picture, finished)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.sampled_from([0, 0, 10, 1000, 30_000]), st.booleans()), min_size=1, max_size=40
    )
)
def test_what_is_kept_is_bounded_and_findable(steps: list[tuple[float, int, bool]]) -> None:
    """Results may finish in any order; bounds are small here."""
    original = results.KEEP_RESULTS, results.KEEP_BYTES
    results.KEEP_RESULTS, results.KEEP_BYTES = 10, 50_000
    try:
        kept, now, added = Kept(), 0.0, list[Result]()
        for number, (pause, size, named) in enumerate(steps):
            now += pause
            sequence = number ^ 3  # out of order
            added.append(kept_result(sequence, now, size))
            kept.add(added[-1], ("me", str(sequence)) if named else None, now)
            held = kept.after(-1, 1000)
            assert len(held) <= 10
            assert sum(r.size for r in held) <= 50_000
            assert all(now - r.finished <= 60 for r in held)
            assert held == sorted(held, key=lambda r: r.sequence)
            assert set(map(id, held)) == set(map(id, added[-len(held) :])), "the newest stay"
            for r in added:
                assert kept.get(r.sequence) is (r if r in held else None)
                if kept.by_key(("me", str(r.sequence))) is not None:
                    assert r in held
        assert held[0].sequence not in [r.sequence for r in kept.after(held[0].sequence, 1000)]
        assert kept.after(-1, 3) == held[:3]
    finally:
        results.KEEP_RESULTS, results.KEEP_BYTES = original


def test_a_name_means_the_newest_frame_of_it() -> None:
    kept = Kept()
    kept.add(kept_result(0, 0.0), ("me", "1"), 0.0)
    kept.add(kept_result(1, 50.0), ("me", "1"), 50.0)
    kept.add(kept_result(2, 70.0), None, 70.0)  # frame 0 is too old now
    found = kept.by_key(("me", "1"))
    assert found is not None
    assert found.sequence == 1
