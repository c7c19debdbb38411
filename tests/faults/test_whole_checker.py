"""The checkers of G5 to G8 find what they are there to find."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.faults import tape, whole_checker
from tests.faults.checker import Answer
from tests.faults.hostile import Told
from tests.faults.mischief import Done
from tests.faults.plans import Fault, Part, Plan, What
from tests.faults.watching import Look, Passing
from tests.faults.whole_checker import Run
from tests.faults.whole_plans import SHORT, whole_plan


def answer(number: int, began: float, took: float = 0.1, **more: Any) -> Answer:
    return replace(Answer(("a", number), "ok", number, began=began, ended=began + took), **more)


def done(what: What, part: Part, began: float, ended: float) -> Done:
    return Done(Fault(began, what, part), began, ended)


STEADY = [answer(n, n / 2) for n in range(60)]
GOOD = Run(STEADY, {n: 1 for n in range(60)}, [], [], 0.0, 30.0)
KILL = done(What.KILL, Part.HANDLER, 10.0, 10.0)
AWAY = done(What.KILL, Part.COLLECTOR, 10.0, 12.0)
SILENCE = [a for a in STEADY if not 10.0 < a.ended < 29.5]
DEGRADED = Look(20.0, "degraded", "node 1 is gone", 1, 1)


def test_a_steady_run_keeps_all_promises() -> None:
    for check in (whole_checker.fencing, whole_checker.recovery, whole_checker.isolation):
        assert list(check(GOOD)) == []
        assert list(check(replace(GOOD, faults=[KILL, AWAY]))) == []


def test_a_silence_after_a_fault_is_told_unless_the_session_said_why() -> None:
    silent = replace(GOOD, answers=SILENCE, faults=[KILL])
    (told,) = whole_checker.recovery(silent)
    assert "G7" in told
    assert list(whole_checker.recovery(replace(silent, looks=[DEGRADED]))) == []
    assert list(whole_checker.recovery(replace(silent, looks=[replace(DEGRADED, reason="")]))), "no reason is no word"


def test_a_long_fault_is_no_slow_recovery() -> None:
    partition = done(What.STALL, Part.APART, 10.0, 28.0)
    assert list(whole_checker.recovery(replace(GOOD, answers=SILENCE, faults=[partition]))) == []


@pytest.mark.parametrize("noticed", [{"attempts": 2}, {"ended": 20.0}])
def test_a_frame_that_notices_a_silent_fault_is_told(noticed: Mapping[str, Any]) -> None:
    hurt = replace(GOOD, answers=[*STEADY, replace(answer(60, 10.5), **noticed)], faults=[AWAY])
    (told,) = whole_checker.isolation(hurt)
    assert "G8" in told
    assert list(whole_checker.isolation(replace(hurt, faults=[AWAY, KILL]))) == [], "it may have been the handler"


def test_an_older_placement_that_answers_after_a_newer_one_is_told() -> None:
    epochs = dict(GOOD.epochs) | {5: 2}
    assert any("G6" in told for told in whole_checker.fencing(replace(GOOD, epochs=epochs)))
    moved = {n: 1 if n < 20 else 2 for n in range(60)}
    assert list(whole_checker.fencing(replace(GOOD, epochs=moved))) == []


def test_two_nodes_that_work_in_one_epoch_are_told() -> None:
    results = [{"epoch": 1, "trace": [{"handler_id": 1, "node_id": node}]} for node in (1, 2)]
    assert list(whole_checker.placements(results, {1: 2})) == []
    assert len(list(whole_checker.placements(results, {}))) == 1


def test_sessions_that_are_gone_or_come_back_are_told() -> None:
    passing = Passing(made=[1, 2, 3], deleted=[1])
    assert list(whole_checker.sessions(passing, {1: "deleted", 2: "running", 3: "degraded"})) == []
    assert len(list(whole_checker.sessions(passing, {1: "running", 2: None, 3: "deleted"}))) == 3


ROW = {"timestamp": 1.5, "session_id": 7, "handler_id": 2, "sequence": 4, "event": "end"}
REPORT: dict[str, Any] = {
    "node_id": 1, "boot_id": "b", "report_id": 3, "sys_info": [], "proc_info": [], "packet_info": [ROW],
    "link_info": [],
}  # fmt: skip
TABLES: dict[str, Any] = {
    "sys_info": set(), "proc_info": set(), "link_info": set(), "packet_info": {(1, 1.5, 7, 2, 4, "end")},
}  # fmt: skip


def test_acknowledged_reports_and_their_rows_are_there_once() -> None:
    noted = [(1, "b", 3)]
    assert list(whole_checker.reports([REPORT], noted, TABLES)) == []
    assert list(whole_checker.reports([REPORT], [], TABLES)), "not noted"
    assert list(whole_checker.reports([REPORT], noted * 2, TABLES)), "noted twice"
    assert list(whole_checker.reports([REPORT], noted, TABLES | {"packet_info": set()})), "a row is missing"


def test_a_gap_in_the_reports_is_told_unless_the_node_said_so() -> None:
    noted = [(1, "b", 1), (1, "b", 3), (2, "c", 1)]
    assert len(list(whole_checker.gaps(noted, 0, {}))) == 1
    assert list(whole_checker.gaps(noted, 0, {1: 1})) == []
    assert len(list(whole_checker.gaps(noted, 2, {1: 1}))) == 1, "some wait still"


def test_a_bad_post_that_is_taken_is_told() -> None:
    assert list(whole_checker.hostile([Told(What.CORRUPT, 422), Told(What.GIANT, 413), Told(What.HALF, None)])) == []
    assert len(list(whole_checker.hostile([Told(What.CORRUPT, 200), Told(What.GIANT, 500)]))) == 2


def test_reports_are_acknowledged_by_the_answers_that_passed() -> None:
    """Two on one connection, the second without an answer; one on another that was refused."""

    def post(number: int) -> bytes:
        body = b'{"report_id": %d}' % number
        return b"POST /reports HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def answered(status: int) -> bytes:
        return b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status

    first = post(1)
    pieces = [(0, True, first[:20]), (1, True, post(3)), (0, True, first[20:]), (0, False, answered(200)),
              (1, False, answered(503)), (0, True, post(2))]  # fmt: skip
    assert [r["report_id"] for r in tape.acknowledged(pieces)] == [1]


def test_a_plan_is_the_same_each_time_and_passes_through_its_record() -> None:
    assert whole_plan(3) == whole_plan(3) != whole_plan(4)
    record = msgspec.json.encode(whole_plan(3).document())
    assert msgspec.json.decode(record, type=Plan) == whole_plan(3)


def test_plans_begin_with_what_no_frame_should_notice_and_meet_everybody() -> None:
    plans = [whole_plan(seed) for seed in range(1, 61)]
    for made in plans:
        assert made.faults == tuple(sorted(made.faults, key=lambda f: f.at_s))
        assert not any(whole_checker.loud(f) for f in made.faults if f.at_s < 9.0), made
    assert {f.part for made in plans for f in made.faults} == set(Part)
    assert {f.what for made in plans for f in made.faults} == set(What)
    assert len(whole_plan(1, SHORT).faults) == SHORT.silent + SHORT.loud
