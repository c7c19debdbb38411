"""A private MariaDB server for the tests: own folder, socket and loopback port; nothing of the system's."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pymysql
import pytest

from wire.settings import DatabaseSettings

START_S = 60
USER, PASSWORD = "faceservice", "only-for-tests"


class MariaDB:
    """A server in a folder. kill() is `kill -9`; start() brings it back with its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        """options: more of the server's own."""
        self.folder, self._options = folder, options
        self.socket = folder / "s"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        own = folder / "tmp"  # a server that starts removes what another one has in a folder that they share
        own.mkdir(mode=0o777)
        own.chmod(0o777)
        self._environ = os.environ | {"TMPDIR": str(own)}
        _run(
            self._environ, "mariadb-install-db", f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal", "--skip-test-db", *_as_user(), *options,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the server and return when it answers."""
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                _program("mariadbd"), "--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={self.socket}",
                f"--port={self.port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}",
                "--innodb-buffer-pool-size=32M", "--skip-log-bin", *_as_user(), *self._options,
            ],
            stdout=log,
            stderr=log,
            env=self._environ,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("mariadbd did not start:\n" + (self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.admin("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True

    def admin(self, *statements: str) -> None:
        """Run *statements* as the server's root."""
        connection = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of a query, asked as the server's root."""
        connection = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def new_schema(self) -> str:
        """Return a fresh, empty schema that USER alone may touch."""
        self._schemas += 1
        name = f"faceservice_{self._schemas}"
        self.admin(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT ALL ON {name}.* TO '{USER}'@'%'",
        )
        return name

    @property
    def pid(self) -> int | None:
        """The server's process, while there is one."""
        return self._process.pid if self._process is not None else None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


def new_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a new folder that the server's user can reach."""
    return opened(factory.mktemp("mariadb"))


def opened(folder: Path) -> Path:
    """Return *folder*, which the server's user can reach from now on."""
    shared = Path(tempfile.gettempdir())  # from there on downwards folders are ours, and private
    above = [p for p in folder.parents if p.is_relative_to(shared) and p != shared]
    for parent in (folder, *above):
        parent.chmod(parent.stat().st_mode | 0o055)
    if os.geteuid() == 0:
        shutil.chown(folder, "mysql")
    return folder


def _as_user() -> list[str]:
    return ["--user=mysql"] if os.geteuid() == 0 else []


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail(
            f"{name} is not installed; `scripts/test` installs it (apt-get install mariadb-server)", pytrace=False
        )
    return found


def _run(environ: Mapping[str, str], name: str, *arguments: str) -> None:
    command = [_program(name), "--no-defaults", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{done.stdout}\n{done.stderr}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mysql_settings(server: MariaDB, schema: str) -> DatabaseSettings:
    """Return the settings of *schema* on *server*, over its loopback port."""
    return DatabaseSettings(
        db_engine="mysql",
        db_addr="127.0.0.1",
        db_port=server.port,
        db_user=USER,
        db_passwd=PASSWORD,
        db_schema=schema,
    )
