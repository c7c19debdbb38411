"""A placement in sentences."""

from coordinator.records import Prediction, replace
from coordinator.words import summary
from tests.unit.test_coordinator_decisions import planned


def test_what_runs_where_what_is_expected_and_why_not_the_others() -> None:
    predicted = Prediction(
        latency_ms=45.3, fps=22.04, accuracy=0.98, basis="mixed", compute_ms=38.4, wait_ms=5, transfer_ms=1.9
    )
    plan = replace(planned({1: [1], 2: [2, 3]}), predicted=predicted, passed_over={"hog": "110 ms predicted"})
    assert summary(plan, "yunet") == [
        "Variant yunet, placed by static: handler 1 on node 1; handler 2 on nodes 2, 3 (replicas). "
        "Frames enter at node 1.",
        "Expected: 45 ms per frame (38 computing, 5 waiting for cores and queues, 2 on the way between nodes); "
        "up to 22.0 frames/s, accuracy 0.98; partly by measurements, partly by what the types' profiles say.",
        "Not variant hog: 110 ms predicted.",
    ]


def test_what_is_not_known_is_left_out() -> None:
    plan = planned({1: [1], 2: [1]})
    placed, expected = summary(plan, "v")
    assert "handler 1 and handler 2 on node 1" in placed
    assert "frames/s" not in expected
    assert "nothing was measured yet" in expected
