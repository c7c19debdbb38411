"""`run`: frames of any sources through a service, with progress, results as they come, pictures kept."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from client import sources
from client.arguments import session_options
from client.errors import ClientError
from client.face_client import FaceClient
from client.results import Result
from wire.credential import Credential
from wire.messages import FrameStatus


@dataclass
class Tally:
    """What came back so far."""

    statuses: Counter[FrameStatus] = field(default_factory=Counter)
    latency_ms: float = 0.0  # of the last frame
    saved: int = 0

    def add(self, result: Result) -> None:
        self.statuses[result.status] += 1
        if result.latency_ms is not None:
            self.latency_ms = result.latency_ms

    @property
    def frames(self) -> int:
        return sum(self.statuses.values())

    @property
    def all_ok(self) -> bool:
        return self.frames > 0 and self.statuses[FrameStatus.OK] == self.frames


def run(args: argparse.Namespace, credential: Credential) -> int:
    """Do the command and return the exit status: 0 only when every frame came back ok. Raises ClientError."""
    found = sources.expand(args.sources)
    service = int(args.service) if args.service.isdecimal() else args.service
    options = session_options(args)
    tally = Tally()
    with FaceClient(
        service,
        coordinator=args.coordinator,
        token=credential.token,
        ca=credential.ca,
        picture=args.save is not None,
        **options,
    ) as client:
        for result in _with_progress(client.stream(sources.frames(found, live=args.live)), found, tally):
            path = save(result, args.save) if args.save else None
            tally.saved += path is not None
            sys.stdout.write(line(result, path, as_json=args.json) + "\n")
            sys.stdout.flush()
    sys.stderr.write(summary(tally, args.save) + "\n")
    return 0 if tally.all_ok else 1


def _with_progress(results: Iterator[Result], found: list[sources.Source], tally: Tally) -> Iterator[Result]:
    """Yield *results* while a bar on stderr (where that is a terminal) shows how it goes."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[fps]:.1f} fps  {task.fields[latency]:.0f} ms  {task.fields[lost]} lost"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, redirect_stdout=True) as progress:
        task = progress.add_task("frames", total=sources.count(found), fps=0.0, latency=0.0, lost=0)
        for result in results:
            tally.add(result)
            elapsed = progress.tasks[0].elapsed or 0.001
            lost = tally.frames - tally.statuses[FrameStatus.OK]
            fps = tally.frames / elapsed
            progress.update(task, advance=1, fps=fps, latency=tally.latency_ms, lost=lost)
            yield result


def line(result: Result, saved: Path | None, *, as_json: bool) -> str:
    """Return *result* as one line: for people, or as JSON."""
    if as_json:
        document = result.to_json()
        return msgspec.json.encode({**document, "saved": str(saved)} if saved else document).decode()
    latency = "" if result.latency_ms is None else f"  {result.latency_ms:.0f} ms"
    picture = f"  -> {saved}" if saved else ""
    return f"{result.name or result.number}: {told(result)}{latency}{picture}"


def told(result: Result) -> str:
    """Return what was found, or what went wrong, in words."""
    if not result.ok:
        return f"{result.status}: {result.reason or 'no reason given'}"
    if not result.boxes:
        return "nothing found" if result.ended_by is None else f"ended by handler {result.ended_by}"
    return ", ".join(box.label if box.distance is None else f"{box.label} ({box.distance:.2f})" for box in result.boxes)


def save(result: Result, folder: Path) -> Path | None:
    """Write the drawn picture of *result* into *folder* and return its path; None without one. Raises ClientError.

    The name is the frame's, as .jpg; what would lead out of *folder* is taken off it.
    """
    if result.picture is None:
        return None
    name = PurePosixPath(result.name.replace("\\", "/") or f"frame-{result.number:06d}")
    parts = [part for part in name.parts if part not in ("/", "..", ".")]
    path = folder.joinpath(*parts[:-1], parts[-1].replace("#", "-")).with_suffix(".jpg")
    if "#" in name.name:
        path = folder.joinpath(*parts[:-1], f"{name.name.replace('#', '-')}.jpg")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(result.picture)
    except OSError as error:
        raise ClientError(f"cannot save {path}: {error.strerror}") from error
    return path


def summary(tally: Tally, folder: Path | None) -> str:
    """Return the last line: how many frames came back, and how."""
    parts = [f"{tally.statuses[status]} {status}" for status in FrameStatus if tally.statuses[status]]
    kept = f"; {tally.saved} pictures in {folder}" if folder else ""
    return f"{tally.frames} frames: {', '.join(parts) or 'none came'}{kept}"
