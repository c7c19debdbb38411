"""Scenarios: wrong ones are refused with the JSON pointer of the fault; the command line says so."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator.__main__ import main
from simulator.scenario import ScenarioError, parse

FOLDER = Path(__file__).resolve().parents[3] / "simulator" / "scenarios"
GOOD: dict[str, Any] = {
    "name": "small",
    "duration_s": 20,
    "kinds": [{"name": "a", "ms": 5}, {"name": "join", "ms": 5, "inputs": 2}],
    "nodes": [{"name": "n", "count": 2}],
    "services": [
        {"name": "s", "variants": [{"name": "v", "handlers": ["a", "a", "join"], "links": [[0, 1], [0, 2], [1, 2]]}]}
    ],
    "sessions": [{"service": "s", "fps": 5}],
}  # fmt: skip


def test_a_good_one_is_taken() -> None:
    assert parse(msgspec.json.encode(GOOD)).sessions[0].fps == 5


@pytest.mark.parametrize(
    ("changes", "pointer", "word"),
    [
        ({"duration_s": 0}, "/duration_s", "> 0"),
        ({"wind": 1}, "/wind", "unknown"),
        ({"warmup_s": 30}, "/warmup_s", "end"),
        ({"sessions": [{"service": "t", "fps": 5}]}, "/sessions/0/service", "'s'"),
        ({"sessions": [{"service": "s", "fps": "5"}]}, "/sessions/0/fps", "float"),
        ({"sessions": [{"service": "s", "fps": 5, "entry_zone": "moon"}]}, "/sessions/0/entry_zone", "zone"),
        ({"faults": [{"at_s": 1, "node": 3}]}, "/faults/0/node", "1 to 2"),
        ({"nodes": [{"name": "n", "runs": ["b"]}]}, "/nodes/0", "'b'"),
        ({"links": [{"between": ["", "b"], "latency_ms": 1}]}, "/links/0/between", "'b'"),
        ({"kinds": [{"name": "a", "ms": 5}, {"name": "a", "ms": 5}]}, "/kinds/1/name", "twice"),
        ({"services": [{"name": "s", "variants": [{"name": "v", "handlers": ["join", "a"]}]}]}, None, "entry"),
        (
            {"services": [{"name": "s", "variants": [{"name": "v", "handlers": ["a", "join"]}]}]},
            "/services/0/variants/0/handlers/1",
            "takes 2",
        ),
        (
            {"services": [{"name": "s", "variants": [{"name": "v", "handlers": ["a", "a"], "links": [[1, 0]]}]}]},
            "/services/0/variants/0/links/0",
            "later",
        ),
    ],
)
def test_a_wrong_one_is_refused_with_its_place(
    changes: dict[str, Any], pointer: str | None, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(msgspec.json.encode(GOOD | changes))
    if pointer is not None:
        with pytest.raises(ScenarioError) as caught:
            parse(file.read_bytes())
        assert caught.value.pointer == pointer
    assert main([str(file)]) == 2
    said = capsys.readouterr().err
    assert word in said and (pointer or "") in said


def test_no_json_no_file_and_no_such_algorithm_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.json"
    assert main([str(file)]) == 2
    file.write_text("{")
    assert main([str(file)]) == 2
    assert main([str(file), "--algorithm", "magic"]) == 2
    said = capsys.readouterr().err
    assert "cannot be read" in said and "no JSON" in said and "no algorithm magic" in said


def test_a_run_writes_json_csv_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "small.json", tmp_path / "out"
    file.write_bytes(msgspec.json.encode(GOOD))
    assert main([str(file), "--seed", "1", "2", "--algorithm", "layered_dp", "random", "--out", str(out)]) == 0
    assert "layered_dp" in capsys.readouterr().out
    results = msgspec.json.decode((out / "results.json").read_bytes())
    assert [(r["algorithm"], r["seed"]) for r in results] == [
        ("layered_dp", 1), ("layered_dp", 2), ("random", 1), ("random", 2),
    ]  # fmt: skip
    assert (out / "results.csv").read_text().count("\n") == 5
    assert (out / "sessions.csv").read_text().count("\n") == 5
    assert (out / "results.png").stat().st_size > 1000


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda f: f.stem)
def test_the_shipped_scenarios_are_right(file: Path) -> None:
    assert parse(file.read_bytes()).name == file.stem
