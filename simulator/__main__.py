"""The command line: see `python3 -m simulator --help`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from coordinator.allocation import ALGORITHMS
from simulator import output
from simulator.results import Result
from simulator.run import Run
from simulator.scenario import Scenario, ScenarioError, load

WIDE = 150  # columns, where no terminal says


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 done, 2 wrong scenario or arguments."""
    args = _parser().parse_args(arguments)
    unknown = sorted(set(args.algorithm) - set(ALGORITHMS))
    if unknown:
        print(f"no algorithm {', '.join(unknown)}; there are {', '.join(ALGORITHMS)}", file=sys.stderr)
        return 2
    try:
        scenario = load(args.scenario)
        results = simulate(scenario, args.algorithm, args.seed)
    except OSError as error:
        print(f"{args.scenario}: cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except ScenarioError as error:
        print(f"{args.scenario}: {error}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else WIDE).print(output.table(results))
    if args.out:
        output.write(args.out, results)
        _plot(args.out, results)
    return 0


def simulate(scenario: Scenario, algorithms: list[str], seeds: list[int]) -> list[Result]:
    """Return a result for each algorithm and seed, with a progress bar on the terminal."""
    results = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for algorithm in algorithms:
            for seed in seeds:
                task = bar.add_task(f"{algorithm}, seed {seed}", total=1.0)
                results.append(
                    Run(scenario, algorithm, seed).run(lambda share, task=task: bar.update(task, completed=share))  # type: ignore[misc]
                )
                bar.remove_task(task)
    return results


def _plot(folder: Path, results: list[Result]) -> None:
    try:
        from simulator import plots
    except ImportError as error:
        print(f"no plots: {error} (pip install -r requirements-optimize.txt)", file=sys.stderr)
        return
    plots.runs(folder / "results.png", results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description="Simulate a scenario (docs/simulator.md).")
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.json")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run for each (1)")
    parser.add_argument("--algorithm", nargs="+", default=["layered_dp"], metavar="A", help="one run for each")
    parser.add_argument("--out", type=Path, help="folder for results.json, results.csv, sessions.csv, results.png")
    return parser


if __name__ == "__main__":
    sys.exit(main())
