"""The command line: `python3 -m client COMMAND`, `--help` lists them.

Exit status: 0 done (`run`: every frame came back ok; `enroll`: every picture was taken; `doctor`: no fault), 1 not,
2 wrong usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console

from client import arguments, doctor, tables, waterfall
from client.coordinator import Coordinator
from client.enroll import enroll
from client.errors import ClientError
from client.run import run
from client.watch import watch
from wire.credential import Credential

WIDTH = 160  # columns, where the output is no terminal


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run one command and return the exit status."""
    args = arguments.parser(environ).parse_args(argv)
    try:
        return _command(args, arguments.credential(args, environ))
    except arguments.UsageError as error:
        return _fail(error, 2)
    except ClientError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `... | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _command(args: argparse.Namespace, credential: Credential) -> int:
    if args.command == "token":
        return _new_token(args)
    if args.command == "run":
        return run(args, credential)
    coordinator = Coordinator(args.coordinator, credential)
    if args.command in arguments.LISTS:
        return _show(args, coordinator.get(f"/{args.command}"), tables.LISTS[args.command])
    if args.command == "explain":
        session = coordinator.get(f"/sessions/{args.session}")
        events = coordinator.list_of(f"/sessions/{args.session}/events", "events")
        return _show(args, {**session, "events": events}, tables.explanation)
    if args.command == "watch":
        return _watch(args, coordinator)
    if args.command == "doctor":
        return _doctor(args, coordinator, credential)
    if args.command == "trace":
        return _trace(args, coordinator)
    if args.command == "enroll":
        done = enroll(coordinator, args.gallery, args.label, args.pictures, negative=args.negative)
        return _show(args, done, tables.enrolled) or int(bool(done["refused"]))
    return _show(args, coordinator.drain(_node_id(coordinator, args.node)), tables.drained)


def _new_token(args: argparse.Namespace) -> int:
    token, lines = arguments.new_token(args)
    return _show(args, {"token": token, "lines": lines}, tables.new_token)


def _watch(args: argparse.Namespace, coordinator: Coordinator) -> int:
    if args.json:
        raise arguments.UsageError("watch is for people; `nodes --json` and `sessions --json` give documents")
    console = _console()
    watch(coordinator, args.session, console, rounds=None if console.is_terminal else 1)
    if not console.is_terminal:
        console.print()  # Live ends without a newline there
    return 0


def _doctor(args: argparse.Namespace, coordinator: Coordinator, credential: Credential) -> int:
    found = list(doctor.examine(coordinator, args.collector, credential))
    document = {"findings": msgspec.to_builtins(found), "summary": doctor.summary(found)}
    return _show(args, document, tables.findings) or int(any(f.level is doctor.Level.FAULT for f in found))


def _trace(args: argparse.Namespace, coordinator: Coordinator) -> int:
    frames = f"/sessions/{args.session}/frames"
    if args.sequence is None:
        return _show(args, coordinator.get(frames), waterfall.frames)
    if args.chrome is not None:
        document = coordinator.get(f"{frames}/{args.sequence}?format=chrome")
        try:
            args.chrome.write_bytes(msgspec.json.encode(document))
        except OSError as error:
            raise arguments.UsageError(f"--chrome {args.chrome}: {error.strerror}") from error
    return _show(args, coordinator.get(f"{frames}/{args.sequence}"), waterfall.waterfall)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def _node_id(coordinator: Coordinator, word: str) -> int:
    """Return the id of the node that *word* names, by id or by name. Raises ClientError."""
    if word.isdecimal():
        return int(word)
    nodes = coordinator.list_of("/nodes", "nodes")
    found = next((n["node_id"] for n in nodes if n.get("node_name") == word), None)
    if found is None:
        known = ", ".join(str(n.get("node_name")) for n in nodes) or "none"
        raise ClientError(f"no node is called {word!r}; there are: {known}")
    return int(found)


def _show(args: argparse.Namespace, document: dict[str, Any], table: tables.Show) -> int:
    if args.json:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        console = _console()
        for part in table(document):
            console.print(part)
    sys.stdout.flush()
    return 0


def _fail(error: Exception, status: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return status
