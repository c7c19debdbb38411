"""Real daemons for the integration tests: `main.py CONFIG` as a process, on a port that the kernel chooses."""

import os
import re
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from wire.settings import DatabaseSettings

MAIN = Path(__file__).resolve().parents[2] / "main.py"
START_S, STOP_S = 30, 15


class Daemon:
    """A started daemon. Leaving the context sends SIGTERM and checks that it ends in order."""

    def __init__(self, config: Path) -> None:
        self._log = (config.parent / f"{config.stem}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(MAIN), str(config)], stdout=subprocess.PIPE, stderr=self._log, env=_environment()
        )
        self.url = self._ready(Path(self._log.name))

    def _ready(self, log: Path) -> str:
        """Return the URL of the ready line."""
        assert self.process.stdout is not None
        waiting = selectors.DefaultSelector()
        waiting.register(self.process.stdout, selectors.EVENT_READ)
        deadline, line = time.monotonic() + START_S, b""
        while not line.endswith(b"\n"):
            if not waiting.select(deadline - time.monotonic()):
                raise TimeoutError(f"no ready line: {log.read_text()}")
            piece = os.read(self.process.stdout.fileno(), 4096)
            if not piece:
                raise RuntimeError(f"ended with {self.process.wait()}: {log.read_text()}")
            line += piece
        found = re.search(r"http://\S+", line.decode())
        assert found, line
        return found[0]

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.terminate()
        status = self.process.wait(STOP_S)
        self._close()
        return status

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait(STOP_S)
        self._close()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            assert self.stop() == 0


def refused(config: Path, *arguments: str) -> tuple[int, str]:
    """Return exit status and stderr of a start that must fail."""
    done = subprocess.run(
        [sys.executable, str(MAIN), str(config), *arguments],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        env=_environment(),
    )
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


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FACESERVICE_")}
