"""The whole system under faults of every kind, in short: G1 to G8 hold."""

import pytest

from tests.chance import seed
from tests.faults.whole_plans import SHORT, whole_plan
from tests.faults.whole_run import run_whole


@pytest.mark.timeout(240)
def test_all_promises_hold_though_anything_may_happen_to_anybody() -> None:
    plan = whole_plan(seed("the whole system"), SHORT)
    outcome = run_whole(plan)
    assert outcome.violations == [], plan.document()
    assert outcome.frames > 100
    assert outcome.figures["reports acknowledged"] > 10
