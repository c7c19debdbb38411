"""The command line: see `python3 -m simulator --help`."""

import argparse
import os
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from coordinator.allocation import ALGORITHMS
from simulator import live, output, recording
from simulator.results import Result
from simulator.run import Run
from simulator.scenario import Scenario, ScenarioError, as_json, load
from wire.client import PeerAway, PeerError

LOCAL = "http://127.0.0.1:9002"
WIDE = 150  # columns, where no terminal says


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 done, 2 wrong scenario or arguments, 3 no coordinator."""
    args = _parser().parse_args(arguments)
    unknown = sorted(set(args.algorithm) - set(ALGORITHMS))
    if unknown:
        print(f"no algorithm {', '.join(unknown)}; there are {', '.join(ALGORITHMS)}", file=sys.stderr)
        return 2
    try:
        results = [r for scenario in scenarios(args) for r in simulate(scenario, args.algorithm, args.seed)]
    except (PeerAway, PeerError) as error:
        print(error, file=sys.stderr)
        return 3
    except OSError as error:
        print(f"{args.scenario}: cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except ScenarioError as error:
        print(f"{args.scenario or args.from_live}: {error}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else WIDE).print(output.table(results, recording.kept()))
    if args.out:
        output.write(args.out, results)
        _plot(args.out, results)
    return 0


def scenarios(args: argparse.Namespace) -> list[Scenario]:
    """Return what is to be simulated. Raises ScenarioError, OSError, PeerAway, PeerError."""
    if args.from_live is None:
        return [load(args.scenario)]
    now = live.scenario(live.read(args.from_live, os.environ.get("FACESERVICE_TOKEN")), args.within)
    if args.save:
        args.save.write_bytes(msgspec.json.format(msgspec.json.encode(as_json(now)), indent=1))
    return [
        now,
        *(live.dies(now, name) for name in args.dies),
        *(live.add(now, int(count), name) for count, name in args.add),
        *(live.traffic(now, factor) for factor in args.traffic),
    ]


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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("scenario", type=Path, nargs="?", metavar="SCENARIO.json")
    source.add_argument("--from-live", nargs="?", const=os.environ.get("FACESERVICE_URL", LOCAL), metavar="URL",
                        help=f"the system of that coordinator, as it runs ($FACESERVICE_URL, {LOCAL})")  # fmt: skip
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run for each (1)")
    parser.add_argument("--algorithm", nargs="+", default=["layered_dp"], metavar="A", help="one run for each")
    parser.add_argument("--out", type=Path, help="folder for results.json, results.csv, sessions.csv, results.png")
    ask = parser.add_argument_group("what if (with --from-live)")
    ask.add_argument("--dies", nargs="+", default=[], metavar="NODE", help="that node is lost")
    ask.add_argument("--add", nargs=2, action="append", default=[], metavar=("N", "NODE"), help="N more like that one")
    ask.add_argument("--traffic", type=float, nargs="+", default=[], metavar="FACTOR", help="so many times the frames")
    ask.add_argument("--within", type=float, metavar="MS", help="in place of max_latency_ms")
    ask.add_argument("--save", type=Path, metavar="FILE", help="keep the running system as a scenario")
    return parser


if __name__ == "__main__":
    sys.exit(main())
