"""The command: measure what is asked for, then write what was found into the repository, or show what would change."""

import argparse
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.common import ROOT
from benchmarks.profile import data, plan
from benchmarks.profile.accuracy import Pictures
from benchmarks.profile.plan import Bench, Part
from benchmarks.profile.store import Store
from benchmarks.profile.system import FrameFailed
from benchmarks.profile.types import Gone
from benchmarks.profile.written import changes, picture_due, show, write
from wire.resources import load_handler_types, load_services

say = Console(stderr=True)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's."""
    types = {
        str(name).casefold(): t.handler_type
        for t in load_handler_types(ROOT / "config" / "handlers")
        for name in (t.handler_type, t.name, t.name.removesuffix("Handler"))
    }
    shipped = load_services(ROOT / "config" / "services")
    services = [s.service_name for s in shipped]
    variants = [f"{s.service_name}/{v.variant_name}" for s in shipped for v in s.variants]
    parser = argparse.ArgumentParser(
        prog="scripts/profile", description="Measure costs and accuracy; write them into config/ and docs/handlers.md."
    )
    parser.add_argument("--handlers", nargs="+", metavar="NAME", help="these only: YunetDetectFace, or 18")
    parser.add_argument(
        "--services", nargs="+", metavar="NAME", help="these only: face_detection, or one variant of it"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--accuracy-only", action="store_true", help="no costs")
    only.add_argument("--speed-only", action="store_true", help="no accuracy")
    parser.add_argument("--quick", action="store_true", help="few frames, one size; nothing is written")
    parser.add_argument("--again", action="store_true", help="also what was measured today")
    parser.add_argument("--data", type=Path, help=f"labelled pictures (default: ${data.VARIABLE})")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, write nothing")
    parser.add_argument("--results", type=Path, default=ROOT / "run" / "profile.json", help="where figures are kept")
    options = parser.parse_args(given)
    unknown = [name for name in options.handlers or () if name.casefold() not in types]
    if unknown:
        parser.error(f"no handler type {', '.join(unknown)}; see config/handlers")
    unknown = [name for name in options.services or () if name not in [*services, *variants]]
    if unknown:
        parser.error(f"no service or service/variant {', '.join(unknown)}; see config/services")
    all_of_both = options.handlers is None and options.services is None
    named = [types[name.casefold()] for name in options.handlers or ()]
    options.handlers = sorted(set(types.values())) if all_of_both else named
    options.services = services if all_of_both else options.services or []
    return options


def parts_of(options: argparse.Namespace, bench: Bench) -> list[Part]:
    """Return what is to be measured."""
    found: list[Part] = []
    if not options.speed_only:
        found += plan.trials(bench, options.services)
    if not options.accuracy_only:
        found += plan.speed(bench, options.handlers, options.services)
    return found


def measure(parts: Iterable[Part], store: Store) -> list[str]:
    """Measure *parts*, with a bar of progress, and keep each in *store*. Returns the faults: the others go on."""
    left, faults = list(parts), []
    columns = (TextColumn("{task.description:48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=say) as progress:
        bar = progress.add_task("", total=sum(part.steps for part in left))
        for done, part in enumerate(left):
            progress.update(bar, description=part.key, completed=sum(before.steps for before in left[:done]))
            try:
                figures = part.run(lambda: progress.advance(bar))
            except (FrameFailed, Gone) as error:
                faults.append(f"{part.key}: {error}")
                continue
            store.put(part.key, figures)
            if "unavailable" in figures:
                progress.console.print(f"{part.key} is not measured: {figures['unavailable']}", soft_wrap=True)
        progress.update(bar, completed=sum(part.steps for part in left))
    return faults


def stop(number: int, frame: FrameType | None) -> None:
    """Make SIGTERM end the run as Ctrl-C does: what was started is stopped first."""
    raise KeyboardInterrupt


def machine() -> tuple[str, float]:
    """Return what the figures are measured on, in a few words, and how many of its cores are busy already."""
    from benchmarks.suite import machine as about

    found = about()
    return f"{os.cpu_count()} x {found['cpu']}, Python {found['python']}", float(found["cores_busy_before"])


def main(given: Sequence[str] | None = None) -> int:
    """Measure and write. Returns 0, or 1 when something that was asked for could not be measured."""
    options = arguments(given)
    signal.signal(signal.SIGTERM, stop)
    folder = data.find(options.data)
    if folder is None and not options.speed_only:
        say.print(f"no labelled pictures: name their folder by --data or {data.VARIABLE}, or ask for --speed-only")
        return 1
    pictures = Pictures() if options.speed_only or folder is None else Pictures.of(folder, few=options.quick)
    store = Store(options.results, *machine(), quick=options.quick)
    with ExitStack() as stack:
        bench = Bench(stack, pictures, options.quick)
        wanted = parts_of(options, bench)
        faults = measure((p for p in wanted if options.again or not store.has(p.key)), store)
    for fault in faults:
        say.print(f"[red]failed[/red] {fault}", soft_wrap=True)
    found = {part.key: store.get(part.key) for part in wanted if store.has(part.key)}
    changed = changes(ROOT, found)
    if options.dry_run or options.quick:
        sys.stdout.write(show(ROOT, changed))
    else:
        write(ROOT, changed, picture=picture_due(found))
        say.print(f"written: {', '.join(str(p.relative_to(ROOT)) for p in changed) or 'nothing new'}", soft_wrap=True)
    return 1 if faults else 0
