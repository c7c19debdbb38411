"""scripts/compare: common seeds, results kept, the same report again, losses shown, verdicts as defined."""

from pathlib import Path

import msgspec
import pytest

from simulator import recording
from simulator.compare import keys, plan, report, statistics
from simulator.compare.__main__ import gathered, main
from simulator.compare.blocks import Grid, Text, page
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
    told = (tmp_path / "a" / "README.md").read_bytes()
    assert main([*asked, "--out", str(tmp_path / "a")]) == 0
    assert "2 runs were missing" in (said := capsys.readouterr().out) and "0 runs were missing" in said
    assert main([*asked, "--out", str(tmp_path / "b")]) == 0  # from nothing
    assert told == (tmp_path / "a" / "README.md").read_bytes() == (tmp_path / "b" / "README.md").read_bytes()
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()
    assert b"uniform" in told and (tmp_path / "a" / "miss_rate.png").exists()


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
    figures = gathered(wanted, store, {("uniform", "layered_dp"): "d", ("uniform", "random"): "d"})
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


def test_a_key_changes_with_what_a_run_executes_and_with_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, other algorithms and what makes reports do not count; the core and the algorithm's own code do."""
    scenario = plan.scenario("uniform", smoke=False)
    before = keys.digest(scenario, "cpsat")
    assert before != keys.digest(plan.scenario("bursty", smoke=False), "cpsat") != keys.digest(scenario, "random")
    assert before == keys.digest(msgspec.structs.replace(scenario, description="other words"), "cpsat")
    known, own = keys.code_of("cpsat"), "coordinator.allocation.cpsat_model"
    assert {"coordinator.admission", "coordinator.rebalance", "simulator.node", own} <= known
    assert not known & {"coordinator.allocation.nsga2", "simulator.compare.report", "simulator.plots", "wire.messages"}
    monkeypatch.setattr(keys, "_meaning", lambda module: "changed" if module == "coordinator.allocation.cpsat" else "")
    changed = keys.digest(scenario, "cpsat")
    monkeypatch.setattr(keys, "_meaning", lambda module: "")
    assert changed != keys.digest(scenario, "cpsat")


def test_what_code_means_is_not_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ('"""Says."""\nx = 1  # one\n', '"""Other words."""\n\n\nx = 1\n', '"""Says."""\nx = 2  # one\n')
    meanings = []
    for text in texts:
        (tmp_path / "code.py").write_text(text)
        keys._meaning.cache_clear()
        monkeypatch.setattr(keys, "_path", lambda _: tmp_path / "code.py")
        meanings.append(keys._meaning("code"))
    keys._meaning.cache_clear()
    assert meanings[0] == meanings[1] != meanings[2]


def test_the_page_needs_nothing_else_and_shows_what_is_lost(tmp_path: Path, result: Result) -> None:
    found = {"layered_dp": of(result, 0.1, 0.12, 0.11), "random": of(result, 0.3, 0.31, 0.29),
             "cpsat": of(result, 0.05, 0.06, 0.05)}  # fmt: skip
    report.write(tmp_path, {"uniform": found}, {"uniform": plan.scenario("uniform", smoke=True)}, smoke=False)
    html, text = (tmp_path / "report.html").read_text(), (tmp_path / "README.md").read_text()
    assert html.count('src="data:image/png;base64,') == 2 and "http" not in html
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2_000_000
    for said in (text, html):
        assert "3 for " in said and "5.67 [5.00, 6.00]" in said  # partial; what the default loses to cpsat
        assert "0 : 1 : 0" in said and "1 : 0 : 0" in said
    kept = recording.kept()
    assert kept is not None and f"±{recording.worst(kept.rows, 95):.0%}" in text and recording.said(kept.rows) in html
    assert "<td>layered_dp</td>" in html and "`" not in html


def test_marks_of_html_in_texts_are_escaped(tmp_path: Path) -> None:
    said = page("a & b", [Text("1 < 2, `x<y>`, **no**"), Grid(["h"], [["<script>"]])], tmp_path)
    assert "1 &lt; 2, <code>x&lt;y&gt;</code>, <strong>no</strong>" in said and "<script>" not in said
    assert "<title>a &amp; b</title>" in said
