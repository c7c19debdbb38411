#!/usr/bin/env python3
"""Start what a configuration file names: coordinator, collector, nodes; several under one supervisor.

Exit status: 0 stopped in order, 2 wrong configuration, 3 something it depends on is away, 1 anything else.
Child processes import this module again, so it imports little and does nothing by itself.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from wire.settings import Settings

ROOT = Path(__file__).resolve().parent
WRONG_CONFIG, AWAY, FAILED = 2, 3, 1
LOG_FORMAT = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"

logger = logging.getLogger("faceservice")


def enter_venv() -> None:
    """Continue under .venv when that exists and this is not it."""
    python = ROOT / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != python.parent.parent and sys.executable != str(python):
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606


def read_arguments() -> argparse.Namespace:
    """Return the command line's arguments; exits with status 2 when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Start the daemons whose sections CONFIG has: [coordinator], [collector], [node] or [node NAME].",
        epilog="Exit status: 0 stopped in order, 2 wrong config, 3 something it depends on is away, 1 anything else.",
    )
    parser.add_argument("config", metavar="CONFIG", type=Path, help="an INI file, like config/demo.conf")
    from wire.version import version

    parser.add_argument("--version", action="version", version=f"FaceService {version()}")
    parser.add_argument("--check", action="store_true", help="validate CONFIG and the files it names, start nothing")
    parser.add_argument("--migrate", action="store_true", help="bring the database's schema up to date, start nothing")
    parser.add_argument("--only", metavar="DAEMON", help="start one: coordinator, collector, node or node:NAME")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # the supervisor's pid: ends with it
    return parser.parse_args()


def start(arguments: argparse.Namespace) -> int:
    """Do what the command line asks; returns the exit status. Raises what stands in the way."""
    from wire.settings import load
    from wire.supervisor import supervise, units

    settings = load(arguments.config, os.environ)
    names = units(settings)
    if arguments.only is not None and arguments.only not in names:
        return complain(f"{arguments.config}: --only {arguments.only}: allowed: {', '.join(names)}", WRONG_CONFIG)
    if arguments.check:
        return check(settings, names)
    if arguments.migrate:
        return migrate(settings)
    if arguments.only is None and len(names) > 1:
        return supervise(settings, str(Path(__file__).resolve()))
    return run(settings, arguments.only or names[0])


def run(settings: "Settings", name: str) -> int:
    """Run one daemon in this process until it ends; returns its exit status."""
    if name == "coordinator":
        return int(import_module("coordinator.daemon").run(settings))
    if name == "collector":
        return int(import_module("collector.daemon").run(settings))
    return int(import_module("node.daemon").run(settings, settings.node(name.partition(":")[2])))


def check(settings: "Settings", names: list[str]) -> int:
    """Read the resource files that *settings* names, too; returns 0. Raises SettingsError."""
    from wire import resources
    from wire.faults import Fault, SettingsError

    readers: dict[str, Callable[[Path], object]] = {
        "node_path": resources.load_nodes,
        "handler_type_path": resources.load_handler_types,
        "service_type_path": resources.load_services,
    }
    faults: dict[Fault, None] = {}
    if settings.coordinator is not None:  # its services must be graphs that can run, its algorithms must be there
        try:
            import_module("coordinator.daemon").read(settings, settings.coordinator)
        except SettingsError as error:
            faults.update(dict.fromkeys(error.faults))
    for section in filter(None, (settings.coordinator, settings.collector, *settings.nodes)):
        for key, read in readers.items():
            try:
                if hasattr(section, key):
                    read(getattr(section, key))
            except SettingsError as error:
                faults.update(dict.fromkeys(error.faults))
    if faults:
        raise SettingsError(faults)
    print(f"{settings.path}: fine: {', '.join(names)}")
    return 0


def migrate(settings: "Settings") -> int:
    """Bring the database's schema up to date; returns 0. Raises SettingsError, DatabaseAway."""
    from wire.faults import Fault, SettingsError

    if settings.database is None:
        raise SettingsError([Fault(settings.path, "is missing", "database")])
    database = import_module("wire.database")
    database.migrate(database.connect(settings.database))
    print(f"{settings.path}: the database's schema is up to date")
    return 0


def complain(message: str, status: int) -> int:
    """Say on stderr what is wrong, a line each; returns *status*."""
    print(message, file=sys.stderr, flush=True)
    return status


def status_of(error: Exception) -> int:
    """Return the exit status for what stood in the way of a start."""
    from wire.faults import SettingsError
    from wire.serving import CannotBind

    database = sys.modules.get("wire.database")  # whoever raised it has imported it
    if isinstance(error, SettingsError):
        return WRONG_CONFIG
    if isinstance(error, CannotBind) or (database and isinstance(error, database.DatabaseAway)):
        return AWAY
    logger.error("unexpected", exc_info=error)
    return FAILED


def leave(_signum: int, _frame: "FrameType | None") -> None:
    """End in order while nothing runs yet; daemons put their own handler in place."""
    raise SystemExit(0)


def main() -> int:
    """Return the exit status."""
    arguments = read_arguments()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it would have read again is just being read
    try:
        if arguments.parent is not None:
            from wire.serving import die_with_parent

            die_with_parent(arguments.parent, signal.SIGTERM)
        return start(arguments)
    except ModuleNotFoundError as error:
        return complain(f"main.py: {error.msg}; ./install.sh sets everything up", FAILED)
    except Exception as error:  # noqa: BLE001 - the process's boundary
        status = status_of(error)
        return complain(str(error) if status != FAILED else f"main.py: {type(error).__name__}: {error}", status)


if __name__ == "__main__":
    enter_venv()
    sys.exit(main())
