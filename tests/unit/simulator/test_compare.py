"""scripts/compare: common seeds, results kept, the same report again, losses shown, verdicts as defined."""

from pathlib import Path

import msgspec
import pytest

from simulator.compare import plan, statistics
from simulator.compare.__main__ import gathered, main
from simulator.compare.plan import Job
from simulator.compare.store import Store
from simulator.results import Result
from simulator.run import Run


@pytest.fixture(scope="module")
def result() -> Result:
    small = plan.shrunk(plan.scenario("uniform", smoke=True))
    return Run(msgspec.structs.replace(small, duration_s=5.0, warmup_s=1.0), "random", 1).run()


def of(result: Result, *misses: float) -> list[Result]:
    return [msgspec.structs.replace(result, miss_rate=m) for m in misses]


def test_a_second_run_runs_nothing_and_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--smoke", "--scenarios", "uniform", "--algorithms", "layered_dp", "random", "--jobs", "2"]
    assert main([*asked, "--out", str(tmp_path / "a")]) == 0
    report = (tmp_path / "a" / "README.md").read_bytes()
    assert main([*asked, "--out", str(tmp_path / "a")]) == 0
    assert "2 runs made" in (said := capsys.readouterr().out) and "0 runs made" in said
    assert main([*asked, "--out", str(tmp_path / "b")]) == 0  # from nothing
    assert report == (tmp_path / "a" / "README.md").read_bytes() == (tmp_path / "b" / "README.md").read_bytes()
    assert b"uniform" in report and (tmp_path / "a" / "miss_rate.png").exists()


def test_results_of_other_code_are_not_taken(tmp_path: Path, result: Result) -> None:
    store, job = Store(tmp_path), Job("uniform", "random", 1)
    store.put(job, "before", result)
    assert store.get(job, "after") is None
    assert store.get(job, "before") == msgspec.structs.replace(result, sessions=[])


def test_only_seeds_that_all_algorithms_have_are_compared(tmp_path: Path, result: Result) -> None:
    store = Store(tmp_path)
    for algorithm, seeds in (("layered_dp", (1, 2, 3)), ("random", (1, 3))):
        for seed in seeds:
            store.put(Job("uniform", algorithm, seed), "d", msgspec.structs.replace(result, seed=seed))
    wanted = plan.jobs(["uniform"], ["layered_dp", "random"], 3)
    figures = gathered(wanted, store, {"uniform": "d"})
    assert {a: [r.seed for r in rs] for a, rs in figures["uniform"].items()} == {"layered_dp": [1, 3], "random": [1, 3]}


def test_verdicts_and_losses(result: Result) -> None:
    found = {
        "layered_dp": of(result, 0.10, 0.12, 0.11), "random": of(result, 0.30, 0.31, 0.29),
        "best_fit": of(result, 0.20, 0.25, 0.24), "cpsat": of(result, 0.05, 0.06, 0.05),
    }  # fmt: skip
    said = statistics.verdict("s", found)
    assert said is not None and said.baseline == "best_fit" and said.half and said.difference.high < 0
    assert list(statistics.losses(found)) == ["cpsat"]
    worse = statistics.verdict("s", {"layered_dp": of(result, 0.3), "random": of(result, 0.2)})
    assert worse is not None and not worse.half and not worse.never_worse


def test_an_interval_holds_its_mean_and_is_the_same_each_time() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    found = statistics.interval(values)
    assert found == statistics.interval(values)
    assert found.low < found.mean == 4.0 < found.high
