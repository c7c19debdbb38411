"""What the client makes of each answer to a frame."""

import msgspec
import pytest

from client.retry import LONGEST_DELAY_S, Answer, Meaning, delay_s, judge

RESULT = {"session_id": 1, "sequence": 0, "status": "ok", "boxes": []}
PROBLEM = {"type": "/problems/x", "title": "X", "status": 503, "detail": "why"}


def answer(status: int, document: object = None, media_type: str = "application/json", **headers: str) -> Answer:
    body = b"" if document is None else msgspec.json.encode(document)
    return Answer(status, {"content-type": media_type, **headers}, body)


@pytest.mark.parametrize(
    ("given", "meaning"),
    [
        (answer(200, RESULT), Meaning.RESULT),
        (answer(422, {**RESULT, "status": "failed"}), Meaning.RESULT),
        (answer(500, {**RESULT, "status": "failed"}), Meaning.RESULT),
        (answer(503, {**RESULT, "status": "dropped"}), Meaning.RESULT),
        (answer(200, None, "image/jpeg"), Meaning.PICTURE),
        (answer(202, None), Meaning.LATER),
        (answer(503, PROBLEM, "application/problem+json"), Meaning.AGAIN),
        (answer(500, PROBLEM, "application/problem+json"), Meaning.AGAIN),
        (answer(429, PROBLEM), Meaning.AGAIN),
        (answer(404, PROBLEM), Meaning.ASK),
        (answer(409, PROBLEM), Meaning.ASK),
        (answer(401, PROBLEM), Meaning.REFUSED),
        (answer(406, PROBLEM), Meaning.REFUSED),
        (answer(413, PROBLEM), Meaning.REJECTED),
        (answer(415, PROBLEM), Meaning.REJECTED),
        (answer(422, PROBLEM), Meaning.REJECTED),
    ],
)
def test_each_answer_has_one_meaning(given: Answer, meaning: Meaning) -> None:
    """A dropped frame's 503 is final, a full window's is not: the body tells them apart, not the status."""
    assert judge(given) is meaning


def test_retry_after_counts_and_nonsense_does_not() -> None:
    assert delay_s(0, "3") == 3.0
    assert delay_s(0, "-1") == 0.0
    assert delay_s(0, "99999") == 30.0
    assert delay_s(0, "soon") == delay_s(0)


def test_delays_grow_to_a_bound() -> None:
    delays = [delay_s(n) for n in range(2000)]
    assert delays == sorted(delays)
    assert delays[0] < 0.1
    assert delays[-1] == LONGEST_DELAY_S
