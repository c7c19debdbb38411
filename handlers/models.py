"""Model files on the command line: `python3 -m handlers.models list|fetch|verify`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from handlers.fetch import fetch, is_right
from handlers.manifest import FetchError, Model, manifest

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "models"


def choose(ids: Sequence[str], chosen_set: str) -> list[Model]:
    """Return the models named *ids*, or those of the set "basic", "all" or "none". Raises SystemExit(2)."""
    models = manifest().models
    unknown = sorted(set(ids) - {m.id for m in models})
    if unknown:
        Console(stderr=True).print(f"no model {', '.join(unknown)}; there are {', '.join(m.id for m in models)}")
        raise SystemExit(2)
    if ids:
        return [m for m in models if m.id in ids]
    return [m for m in models if chosen_set in m.sets]


def list_models(models: Sequence[Model], folder: Path, console: Console) -> int:
    """Print what there is and what is here. Returns 0."""
    table = Table("id", "MB", "here", "sets", "licence", "note", title=f"models in {folder}")
    for model in models:
        path = folder / model.file
        here = "yes" if path.is_file() and path.stat().st_size == model.bytes else "no"
        table.add_row(model.id, f"{model.bytes / 1e6:.1f}", here, " ".join(model.sets), model.licence, model.note)
    console.print(table)
    return 0


def fetch_models(models: Sequence[Model], folder: Path, console: Console) -> int:
    """Get what is missing or wrong, with progress. Returns 0, or 1 when a model could not be had."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    failures = 0
    with Progress(*columns, console=console) as progress:
        for model in models:
            bar = progress.add_task(model.id, total=model.bytes)
            try:
                fetch(model, folder, lambda have, bar=bar: progress.update(bar, completed=have))  # type: ignore[misc]
            except FetchError as error:
                failures += 1
                progress.console.print(f"[red]failed[/red] {error}", soft_wrap=True)
    console.print(f"{len(models) - failures} of {len(models)} models are in {folder}, sha256 verified", soft_wrap=True)
    return 1 if failures else 0


def verify_models(models: Sequence[Model], folder: Path, console: Console) -> int:
    """Check the sha256 of each. Returns 0 when all are there and right, else 1."""
    wrong = 0
    for model in models:
        path = folder / model.file
        right = is_right(model, path)
        wrong += not right
        state = "ok" if right else "wrong" if path.exists() else "missing"
        console.print(f"{state:8}{model.id:24}{path}", soft_wrap=True)
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m handlers.models", description=__doc__)
    parser.add_argument("command", choices=("list", "fetch", "verify"))
    parser.add_argument("ids", nargs="*", metavar="ID", help="models (default: those of --models)")
    parser.add_argument("--models", choices=("basic", "all", "none"), default="basic", help="a set (default: basic)")
    parser.add_argument("--path", type=Path, default=DEFAULT_PATH, help="folder (default: models/ of the product)")
    options = parser.parse_args(arguments)
    chosen_set = "all" if options.command == "list" else options.models
    models = choose(options.ids, chosen_set)
    run = {"list": list_models, "fetch": fetch_models, "verify": verify_models}[options.command]
    return run(models, options.path.resolve(), Console())


if __name__ == "__main__":
    sys.exit(main())
