"""The command line's words: which commands, which options, what they mean. Pure."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.credentials import credential_of
from client.face_client import DEFAULT_COORDINATOR
from wire import tokens
from wire.access import Role
from wire.credential import Credential
from wire.messages import Maximize, Minimize, Objective
from wire.tls import BadCertificate

LISTS = {
    "services": "the services and their variants",
    "nodes": "the nodes, their state and load",
    "sessions": "the sessions, where they run and how fast",
    "algorithms": "the allocation algorithms",
    "handlers": "the handler types",
    "galleries": "the galleries of known people",
}
if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

OBJECTIVES = [*Minimize, *Maximize]


class UsageError(Exception):
    """An option has a value that cannot be used."""


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser; *environ* gives the coordinator's address when the options do not."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--coordinator",
        metavar="URL",
        default=environ.get("FACESERVICE_URL") or DEFAULT_COORDINATOR,
        help="the coordinator (default: $FACESERVICE_URL, else %(default)s)",
    )
    shared.add_argument("--token-file", metavar="FILE", type=Path, help="the token (default: $FACESERVICE_TOKEN)")
    shared.add_argument(
        "--ca", metavar="FILE", type=Path, help="PEM of the authority to trust (default: $FACESERVICE_CA)"
    )
    shared.add_argument("--json", action="store_true", help="one JSON document; `run`: a line per result")
    top = argparse.ArgumentParser(prog="python3 -m client", description="FaceService from the command line.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, what in LISTS.items():
        commands.add_parser(name, parents=[shared], help=f"list {what}", description=f"List {what}.")
    _add_run(commands, shared)
    explain = commands.add_parser("explain", parents=[shared], help="why a session runs where it runs")
    explain.add_argument("session", type=int, metavar="SESSION", help="its id")
    _add_looking(commands, shared)
    enroll = commands.add_parser("enroll", parents=[shared], help="make a person known by pictures")
    enroll.add_argument("gallery", metavar="GALLERY", help="its name; `default` is that of services that name none")
    enroll.add_argument("label", metavar="LABEL", help="who it is")
    enroll.add_argument(
        "--not", action="store_true", dest="negative", help="the pictures show others who are taken for LABEL"
    )
    enroll.add_argument("pictures", metavar="PICTURE", nargs="+", type=Path, help="the largest face of each is taken")
    drain = commands.add_parser("drain", parents=[shared], help="move everything away from a node")
    drain.add_argument("node", metavar="NODE", help="its id or name")
    _add_token(commands)
    return top


def _add_token(commands: "Commands") -> None:
    token = commands.add_parser(
        "token",
        help="make a token for somebody",
        description="Make a token and the lines for the file that [security] tokens_path names. It is shown this once.",
    )
    token.add_argument("role", choices=[str(role) for role in Role], help="what its holder is")
    token.add_argument("--name", help="how logs call it (default: the role)")
    token.add_argument("--node-id", type=int, metavar="N", help="role node: the node that it speaks for")
    token.add_argument("--json", action="store_true", help="one JSON document")


def new_token(args: argparse.Namespace) -> tuple[str, str]:
    """Return the token that `token` asks for, and its lines for the file. Raises UsageError."""
    role = Role(args.role)
    if (role is Role.NODE) != (args.node_id is not None):
        raise UsageError("--node-id N belongs to the role node, and to no other")
    default = str(role) if args.node_id is None else f"{role}-{args.node_id}"
    name = args.name or default
    if not re.fullmatch(tokens.NAME, name):
        raise UsageError(f"--name {name!r}: letters, digits, '_', '.', '@' and '-', at most 64")
    return tokens.new_token(name, role, args.node_id)


def _add_looking(commands: "Commands", shared: argparse.ArgumentParser) -> None:
    watch = commands.add_parser("watch", parents=[shared], help="a live view of nodes and sessions, or of one session")
    watch.add_argument("session", type=int, metavar="SESSION", nargs="?", help="its id (default: all)")
    doctor = commands.add_parser("doctor", parents=[shared], help="look the deployment over and say what to mend")
    doctor.add_argument("--collector", metavar="URL", help="look at the collector too")
    trace = commands.add_parser("trace", parents=[shared], help="where a frame was, and how long")
    trace.add_argument("session", type=int, metavar="SESSION", help="its id")
    trace.add_argument("sequence", type=int, metavar="FRAME", nargs="?", help="its sequence (default: list the latest)")
    trace.add_argument("--chrome", metavar="FILE", type=Path, help="write it for chrome://tracing or ui.perfetto.dev")


def _add_run(commands: "Commands", shared: argparse.ArgumentParser) -> None:
    run = commands.add_parser(
        "run",
        parents=[shared],
        help="send pictures through a service and show the results",
        description="Send pictures, folders, videos, cameras (numbers) or URLs through a service. "
        "Exit status 0 only when every frame came back ok.",
    )
    run.add_argument("service", metavar="SERVICE", help="name or id; `services` lists them")
    run.add_argument("sources", metavar="SOURCE", nargs="+", help="picture, folder, video, camera number or URL")
    run.add_argument("--save", metavar="DIR", type=Path, help="keep the drawn pictures there")
    run.add_argument("--variant", help="a variant of the service (default: chosen by the coordinator)")
    run.add_argument("--algorithm", help="how to place the handlers; `algorithms` lists them")
    run.add_argument("--pin", metavar="HANDLER=NODE[,NODE]", action="append", default=[], help="may be repeated")
    run.add_argument("--objective", choices=[str(o) for o in OBJECTIVES], help="what to optimise")
    run.add_argument("--live", action="store_true", help="newest frames first: drop old ones rather than wait")
    run.add_argument("--window", type=_window, default=16, metavar="N", help="frames under way (default %(default)s)")


def _window(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1024:
        raise argparse.ArgumentTypeError("a window is 1 to 1024 frames")
    return number


def session_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the members of `POST /sessions` that the options of `run` say. Raises UsageError."""
    options: dict[str, Any] = {
        "variant": args.variant,
        "algorithm": args.algorithm,
        "objective": objective(args.objective),
        "pin": pins(args.pin),
        "delivery": "live" if args.live else None,
        "window": args.window,
    }
    return {name: value for name, value in options.items() if value}


def objective(name: str | None) -> Objective | None:
    """Return the objective called *name*."""
    if name is None:
        return None
    if name in set(Minimize):
        return Objective(minimize=Minimize(name))
    return Objective(maximize=Maximize(name))


def pins(words: Sequence[str]) -> dict[int, list[int]]:
    """Return `["1=2", "3=1,2"]` as {1: [2], 3: [1, 2]}. Raises UsageError."""
    found: dict[int, list[int]] = {}
    for word in words:
        handler, _, nodes = word.partition("=")
        try:
            found[int(handler)] = [int(node) for node in nodes.split(",")]
        except ValueError as error:
            raise UsageError(f"--pin {word}: write HANDLER=NODE[,NODE] with ids, e.g. --pin 2=1") from error
    return found


def credential(args: argparse.Namespace, environ: Mapping[str, str]) -> Credential:
    """Return what the options say, else the environment: the token, and whom to trust. Raises UsageError."""
    path = getattr(args, "token_file", None)
    try:
        token = None if path is None else str(path.read_text(encoding="utf-8").strip())
        found = credential_of(environ, token, getattr(args, "ca", None))
        if found.ca is not None:
            found.context()
    except OSError as error:
        raise UsageError(f"--token-file {path}: {error.strerror}") from error
    except BadCertificate as error:
        raise UsageError(f"--ca: {error}") from error
    return found
