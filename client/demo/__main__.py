"""The demo's story: daemons up, photos in, names out, telemetry counted, everything gone."""

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from client.coordinator import Coordinator, Session
from client.demo import telemetry
from client.demo.daemons import Daemons, DemoError, Place, free_ports, new_folder, prefix
from client.demo.timing import REST, parts, rest_ms
from client.errors import ClientError
from client.face_client import FaceClient
from client.results import Result
from client.run import save, told
from client.tables import table
from wire.messages import SessionRequest
from wire.settings import Settings, SettingsError, load

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "face_recognition"
EDGE, SERVER = 1, 2  # the node ids of config/demo.conf
ON_EDGE = frozenset({6, 8, 9})  # handler types: decode and the detectors; the others run on the server
NODES_TIMEOUT_S = 15.0
ROWS_TIMEOUT_S = 20.0

console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def main() -> int:
    """Run the demo and return the exit status."""
    args = _arguments()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return Demo(keep=args.keep).run()
    except (ClientError, SettingsError) as error:
        sys.stderr.write(f"demo failed: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Start coordinator, collector and two nodes on this machine, send the photos of samples/photos "
        "through face_recognition split over both nodes, and show who is on them and where the time went.",
    )
    parser.add_argument("--keep", action="store_true", help="leave it running and say how to use and to stop it")
    return parser.parse_args()


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Make SIGTERM end the demo as Ctrl-C does, daemons first."""
    raise KeyboardInterrupt


class Demo:
    """One run. Pictures go to demo-output/; database, spool and log to a temporary folder."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._output = ROOT / "demo-output"
        self._folder = new_folder()
        self._database = self._folder / "faceservice.sqlite"

    def run(self) -> int:
        """Do everything; the daemons are stopped whatever happens, unless they are to be kept."""
        config = ROOT / "config" / "demo.conf"
        settings = load(config, os.environ)
        environ = self._overrides(settings)
        self._output.mkdir(exist_ok=True)
        say("Starting coordinator, collector and two nodes")
        daemons = Daemons(ROOT, config, environ, self._folder / "daemons.log")
        shown = False
        try:
            good = self._show(daemons, 2 + len(settings.nodes))
            shown = True
        finally:
            if not (shown and self._keep):
                good = self._stop(daemons, shown) and shown and good
        return 0 if good else 1

    def _stop(self, daemons: Daemons, shown: bool) -> bool:
        """Stop everything; return whether that went as it should. What may tell why it did not is left there."""
        for number in (signal.SIGINT, signal.SIGTERM):  # stopping takes seconds, and must not be cut short
            signal.signal(number, signal.SIG_IGN)
        fault = daemons.stop()
        say(f"Stopping: {fault or 'all processes are gone'}")
        if shown and not fault:
            shutil.rmtree(self._folder, ignore_errors=True)
        return not fault

    def _overrides(self, settings: Settings) -> dict[str, str]:
        """Return the environment that makes this run independent of others on the machine."""
        galleries = {
            f"{prefix(node.section)}_GALLERY_PATH": str(ROOT / "samples" / "gallery")
            for node in settings.nodes
            if node.gallery_path is None
        }
        return {
            **galleries,
            **free_ports(settings),
            "FACESERVICE_DATABASE_DB_ENGINE": "sqlite",
            "FACESERVICE_DATABASE_DB_PATH": str(self._database),
            "FACESERVICE_REPORTER_SPOOL_PATH": str(self._folder / "spool"),
            "FACESERVICE_REPORTER_SEND_REPORT_PERIOD": "1",
            "FACESERVICE_SECURITY_TOKEN": "",  # loopback only, and the curl lines work as they are
            "FACESERVICE_SECURITY_TOKEN_FILE": "",
        }

    def _show(self, daemons: Daemons, count: int) -> bool:
        """Show the photos' way through the system; return whether all went well."""
        places = daemons.wait_ready(count)
        for name, place in sorted(places.items()):
            say(f"  {name} on {place.url}" + (f", frames on {place.frames}" if place.frames else ""))
        coordinator = Coordinator(places["coordinator"].url)
        _wait_for_nodes(coordinator, daemons)
        variant = _variant(coordinator)
        began = time.monotonic()
        session = coordinator.create(
            SessionRequest(service=SERVICE, variant=variant["variant_name"], pin=pins(variant))
        )
        say(f"Session {session.session_id} runs after {time.monotonic() - began:.1f} s, placed on {_placed(session)}")
        results = self._post_photos(places["coordinator"], session)
        self._print_results(results, variant)
        good = all(result.ok for result in results)
        if self._keep:
            self._print_how_to_use(daemons, places["coordinator"], session)
            return good
        good = self._print_rows(daemons, sum(len(result.trace) for result in results)) and good
        coordinator.delete(session.session_id)
        return good

    def _post_photos(self, place: Place, session: Session) -> list[Result]:
        photos = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
        if not photos:
            raise DemoError("there are no photos in samples/photos")
        with FaceClient(session=session.session_id, coordinator=place.url, picture=True) as client:
            return [client.post(photo) for photo in photos]

    def _print_results(self, results: list[Result], variant: Mapping[str, Any]) -> None:
        rows = [(r.name, told(r), f"{r.latency_ms or 0:.0f}", _relative(save(r, self._output))) for r in results]
        say("\nWho is on the photos (distance to the nearest known face; below 0.6 is the same person)")
        console.print(table(("photo", "people", "ms", "drawn picture"), rows, "no photos"))
        times = [parts(result, variant) for result in results]
        columns = [*dict.fromkeys(part.name for row in times for part in row), REST]
        cells = [
            {part.name: f"{part.ms:.1f}" for part in row} | {REST: f"{rest_ms(result, row):.1f}"}
            for result, row in zip(results, times, strict=True)
        ]
        say(
            "\nWhere the time went, ms (handler @node; hop: over HTTP between the nodes; rest: entry, queues, way back)"
        )
        lines = [(r.name, *(c.get(name) for name in columns)) for r, c in zip(results, cells, strict=True)]
        console.print(table(("photo", *columns), lines, "no trace"))

    def _print_rows(self, daemons: Daemons, steps: int) -> bool:
        """Wait for the reports of all *steps* of frames; print the tables' counts; return whether all have rows."""
        deadline = time.monotonic() + ROWS_TIMEOUT_S
        while time.monotonic() < deadline:
            rows = telemetry.counts(self._database)
            if all(rows.values()) and telemetry.steps_done(self._database) >= steps:
                break
            daemons.pause()
        say("\nTelemetry in the database, rows: " + ", ".join(f"{name} {count}" for name, count in rows.items()))
        return all(rows.values())

    def _print_how_to_use(self, daemons: Daemons, place: Place, session: Session) -> None:
        photo = ROOT / "samples" / "photos" / "obama_and_biden.jpg"
        post = f"curl -sS -H 'Content-Type: image/jpeg' --data-binary {shlex.quote(f'@{photo}')}"
        say("\nThe system goes on running. Session URL:")
        say(f"  {session.session_url}")
        say("Who is on a photo; the same as a drawn picture:")
        say(f"  {post} {shlex.quote(session.session_url)}")
        say(f"  {post} -H 'Accept: image/jpeg' -o drawn.jpg {shlex.quote(session.session_url)}")
        say(f"Look around: {place.url} in a browser, or")
        say(f"  FACESERVICE_URL={place.url} python3 -m client sessions")
        say(f"Log: {daemons.log}; database: {self._database}")
        say("Stop it:")
        say(f"  kill {daemons.pid}")


def say(words: str) -> None:
    """Print one line, never wrapped: some are to be pasted."""
    print(words, flush=True)


def pins(variant: Mapping[str, Any]) -> dict[int, int | list[int]]:
    """Return where each handler goes: decode and detect on the edge, the rest on the server."""
    return {h["handler_id"]: EDGE if h["handler_type"] in ON_EDGE else SERVER for h in variant["handlers"]}


def _wait_for_nodes(coordinator: Coordinator, daemons: Daemons) -> None:
    """Return when the coordinator has heard both nodes. Raises DemoError."""
    deadline = time.monotonic() + NODES_TIMEOUT_S
    while time.monotonic() < deadline:
        states = {n["node_id"]: n["state"] for n in coordinator.list_of("/nodes", "nodes")}
        if all(states.get(node) == "up" for node in (EDGE, SERVER)):
            return
        daemons.pause()
    raise DemoError(f"the coordinator did not hear the nodes within {NODES_TIMEOUT_S:.0f} s; it knows: {states}")


def _variant(coordinator: Coordinator) -> dict[str, Any]:
    """Return the first variant of the demo's service. Raises DemoError."""
    for service in coordinator.list_of("/services", "services"):
        if service["service_name"] == SERVICE:
            return dict(service["variants"][0])
    raise DemoError(f"the coordinator has no service {SERVICE}")


def _placed(session: Session) -> str:
    """Return which handlers run on which node, in words."""
    by_node: dict[str, list[str]] = {}
    for handler, nodes in session.placement.items():
        name = ",".join(str(n) for n in nodes) if isinstance(nodes, list) else str(nodes)
        by_node.setdefault(name, []).append(handler)
    return "; ".join(f"node {node}: handlers {', '.join(handlers)}" for node, handlers in sorted(by_node.items()))


def _relative(path: Path | None) -> str:
    return "-" if path is None else str(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
