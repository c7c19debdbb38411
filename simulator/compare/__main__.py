"""scripts/compare: run what is missing, then write the report."""

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from simulator.compare import plan, report
from simulator.compare.keys import digest
from simulator.compare.plan import Job
from simulator.compare.running import Digests, run
from simulator.compare.store import Store
from simulator.results import Result


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status."""
    args = _arguments(arguments)
    left_out = [a for a in args.algorithms if a in plan.LIBRARIES and find_spec(plan.LIBRARIES[a]) is None]
    algorithms = [a for a in args.algorithms if a not in left_out]
    scenarios = {name: plan.scenario(name, smoke=args.smoke) for name in args.scenarios}
    digests = {(name, a): digest(scenario, a) for name, scenario in scenarios.items() for a in algorithms}
    store = Store(args.out / "runs")
    wanted = list(plan.jobs(list(scenarios), algorithms, args.seeds))
    missing = [] if args.report_only else [j for j in wanted if store.get(j, digests[j.scenario, j.algorithm]) is None]
    try:
        run(missing, store, digests, smoke=args.smoke, processes=args.jobs)
    except KeyboardInterrupt:
        print("broken off: what is done is kept, the report has that", file=sys.stderr)
    figures = gathered(wanted, store, digests)
    notes = [f"Left out, for want of a library: {', '.join(left_out)}."] if left_out else []
    report.write(args.report or args.out, figures, scenarios, smoke=args.smoke, notes=[*notes, *args.note])
    print(f"{len(missing)} runs were missing, report: {(args.report or args.out) / 'README.md'} and report.html")
    return 0


def gathered(wanted: Iterable[Job], store: Store, digests: Digests) -> dict[str, dict[str, list[Result]]]:
    """Return scenario -> algorithm -> results, of the seeds for which all algorithms that were run have one."""
    by: dict[str, dict[str, dict[int, Result]]] = {}
    for job in wanted:
        found = store.get(job, digests[job.scenario, job.algorithm])
        if found is not None:
            by.setdefault(job.scenario, {}).setdefault(job.algorithm, {})[job.seed] = found
    figures: dict[str, dict[str, list[Result]]] = {}
    for scenario, algorithms in by.items():
        seeds = sorted(set.intersection(*(set(found) for found in algorithms.values())))
        if seeds:
            figures[scenario] = {a: [found[s] for s in seeds] for a, found in algorithms.items()}
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/compare", description="Compare the algorithms (docs/simulator.md).")
    parser.add_argument("--smoke", action="store_true", help="small and short, at most 2 minutes")
    parser.add_argument("--seeds", type=int, help=f"for each scenario ({plan.SEEDS}; the largest at most 10; smoke 1)")
    parser.add_argument("--scenarios", nargs="+", default=list(plan.SCENARIOS), choices=plan.SCENARIOS, metavar="S")
    parser.add_argument("--algorithms", nargs="+", choices=plan.ALGORITHMS, metavar="A",
                        help="all; smoke: the default and its baselines")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--out", type=Path, help="folder for the runs: run/compare, or run/compare-smoke")
    parser.add_argument("--report", type=Path, help="folder for the report: the same")
    parser.add_argument("--report-only", action="store_true", help="run nothing, report what is there")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the report")
    return parser


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return the arguments; some defaults depend on --smoke."""
    args = _parser().parse_args(arguments)
    args.seeds = args.seeds or (1 if args.smoke else plan.SEEDS)
    args.algorithms = args.algorithms or list((plan.DEFAULT, *plan.BASELINES) if args.smoke else plan.ALGORITHMS)
    args.out = args.out or plan.ROOT / "run" / ("compare-smoke" if args.smoke else "compare")
    return args


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs is finished and kept
    sys.exit(main())
