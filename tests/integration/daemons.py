"""Collectors for the integration tests: a configuration for any database, a start that must work or must not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.daemons import Daemon, run, start
from wire.settings import DatabaseSettings


@contextmanager
def running(config: Path) -> Iterator[Daemon]:
    """A ready daemon, ended in order at the end."""
    daemon = start(config, config.parent)
    try:
        yield daemon.wait_ready()
        daemon.stop()
    finally:
        daemon.kill()


def refused(config: Path, *arguments: str) -> tuple[int, str]:
    """Return exit status and stderr of a start that ends by itself."""
    done = run(str(config), *arguments)
    return done.returncode, done.stderr


def collector_config(folder: Path, database: DatabaseSettings, *, port: int = 0, **more: str) -> Path:
    """Write a collector's configuration into *folder* and return its path."""
    nodes = folder / "nodes"
    nodes.mkdir(exist_ok=True)
    (nodes / "here.json").write_text('{"node_id": 7, "node_name": "here", "node_addr": "127.0.0.1"}')
    keys = ("db_engine", "db_addr", "db_port", "db_user", "db_passwd", "db_schema", "db_path")
    values = {key: getattr(database, key) for key in keys if getattr(database, key)}
    lines = ["[collector]", f"collector_port = {port}", f"node_path = {nodes}"]
    lines += [f"{key} = {value}" for key, value in more.items()]
    lines += ["[database]", *(f"{key} = {value}" for key, value in values.items())]
    path = folder / "collector.conf"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return path
