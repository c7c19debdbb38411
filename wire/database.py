"""One way into the database for coordinator and collector: SQLAlchemy engines, checks and migrations.

MariaDB/MySQL through PyMySQL, SQLite through the standard library. A daemon calls connect() and check() at its start;
MySQL is migrated by `main.py --migrate` alone, SQLite by check(). Whatever says "the database is not there" leaves
this module as DatabaseAway, whose message names the database and never its password.
"""

import fcntl
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, exc

from wire.settings import DatabaseSettings
from wire.tables import migrations

SQL_PATH = Path(__file__).resolve().parent.parent / "sql"
BUSY_TIMEOUT_S = 5  # SQLite: how long a writer waits for another
CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 30
RECYCLE_S = 1800  # a connection is replaced before servers and firewalls forget it

# MySQL error numbers that mean "not now" rather than "not so": server going, gone, too many connections, read-only;
# no room for data, log or temporary file, an error of the storage; a statement or connection that somebody ended
_NOT_NOW = {1053, 1040, 1203, 1290, 1836, 2002, 2003, 2006, 2013, 2014, 2055, 4031}
_NOT_NOW |= {1021, 1026, 1030, 1114, 1135, 1317, 1927, 1969, 3024}
_AT_ONCE = {1205, 1213, 1020}  # lock wait, deadlock, changed meanwhile: the same transaction may succeed at once
_REFUSED = {1044, 1045, 1049, 1698}  # access denied, unknown schema
_INDEX_EXISTS = 1061
_SQLITE_NOT_NOW = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}


class DatabaseAway(Exception):
    """The database cannot be used now; the message names it and says why."""


class Contended(DatabaseAway):
    """Another transaction was in the way; nothing was written, and the same may be tried again at once."""


class SchemaBehind(DatabaseAway):
    """The database answers, but migrations are missing."""


def connect(settings: DatabaseSettings) -> Engine:
    """Return an engine; nothing is opened yet. Make it after a fork, never before."""
    if settings.db_engine == "sqlite":
        return _sqlite(settings)
    return _mysql(settings)


def describe(engine: Engine) -> str:
    """Return the database's name for messages, without user and password."""
    url = engine.url
    if engine.dialect.name == "sqlite":
        return f"SQLite database {url.database}"
    place = url.query.get("unix_socket") or f"{url.host}:{url.port}"
    return f"database {url.database!r} at {place}"


def check(engine: Engine) -> None:
    """Return when the database can be used. SQLite is made and migrated here. Raises DatabaseAway, SchemaBehind."""
    if engine.dialect.name == "sqlite":
        migrate(engine)
        return
    with away(engine), engine.connect() as connection:
        missing = [f.stem for f in migration_files() if f.stem not in _applied(connection)]
    if missing:
        raise SchemaBehind(
            f"{describe(engine)} lacks {len(missing)} migration(s) ({', '.join(missing)}): "
            "run `python3 main.py --migrate CONFIG` once"
        )


def migrate(engine: Engine) -> list[str]:
    """Bring the database to the newest schema and return the names of what was applied. Raises DatabaseAway."""
    if engine.dialect.name != "sqlite":
        with away(engine):
            return _migrate(engine)
    with _file_lock(engine), away(engine):
        return _migrate(engine)


@contextmanager
def away(engine: Engine) -> Iterator[None]:
    """Turn the driver's "not there" and "not now" errors into DatabaseAway; let all others pass."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError) as error:
        if not is_away(error):
            raise
        reason = str(error.orig) if isinstance(error, exc.DBAPIError) else "no free connection"
        kind = Contended if _number(error) in _AT_ONCE else DatabaseAway
        raise kind(f"{describe(engine)} is away: {reason}") from error


def is_away(error: BaseException) -> bool:
    """Return True when *error* says that the same call may succeed later, or with a mended configuration."""
    if isinstance(error, exc.TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_NOT_NOW
    return _number(error) in _NOT_NOW | _AT_ONCE | _REFUSED or isinstance(error, exc.InterfaceError)


def _number(error: BaseException) -> object:
    """Return the server's number of an error, or None."""
    orig = error.orig if isinstance(error, exc.DBAPIError) else None
    return orig.args[0] if orig is not None and orig.args else None


# --- engines ------------------------------------------------------------------------------------------


def _mysql(settings: DatabaseSettings) -> Engine:
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": ANSWER_TIMEOUT_S,
        "write_timeout": ANSWER_TIMEOUT_S,
        "charset": "utf8mb4",
    }
    address = settings.db_addr
    if is_local(address):
        arguments["ssl_disabled"] = True  # a TLS context costs 36 ms per connection and guards nothing here
    query = {"unix_socket": address} if address.startswith("/") else {}
    url = URL.create(
        "mysql+pymysql",
        username=settings.db_user,
        password=settings.db_passwd,
        host=None if query else address,
        port=None if query else settings.db_port,
        database=settings.db_schema,
        query=query,
    )
    return sqlalchemy.create_engine(
        url,
        connect_args=arguments,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        isolation_level="READ COMMITTED",
    )


def is_local(address: str) -> bool:
    """Return True for a Unix socket's path and for loopback addresses."""
    if address.startswith("/") or address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _sqlite(settings: DatabaseSettings) -> Engine:
    url = URL.create("sqlite", database=str(settings.db_path))
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns: G5


# --- migrations ---------------------------------------------------------------------------------------


def migration_files() -> list[Path]:
    """Return the numbered migrations, in order."""
    return sorted(SQL_PATH.glob("[0-9][0-9][0-9][0-9]_*.sql"))


def statements(sql: str, dialect: str) -> list[str]:
    """Return the statements of a migration for *dialect* ("sqlite" or "mysql"). Pure.

    `INT SERIAL_KEY` and `BIGINT SERIAL_KEY` become a primary key that the database counts up. `INDEX IF NOT EXISTS`
    stays for SQLite and MariaDB; to MySQL, which has no such words, they are a comment. A statement ends with a
    semicolon at a line's end; lines that begin with `--` are comments.
    """
    serial = r"\1 NOT NULL AUTO_INCREMENT PRIMARY KEY"
    if dialect == "sqlite":
        serial = "INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL"
    code = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    code = re.sub(r"\b(INT|BIGINT) SERIAL_KEY\b", serial, code)
    if dialect != "sqlite":
        code = code.replace("INDEX IF NOT EXISTS", "INDEX /*M! IF NOT EXISTS */")
    return [s.strip() for s in re.split(r";[ \t]*(?:\n|$)", code) if s.strip()]


# two who migrate at once both succeed
_NOTE = migrations.insert().prefix_with("IGNORE", dialect="mysql").prefix_with("OR IGNORE", dialect="sqlite")


def _applied(connection: Connection) -> set[str]:
    """Return the names of the migrations that the database has."""
    if not sqlalchemy.inspect(connection).has_table(migrations.name):
        return set()
    return set(connection.scalars(sqlalchemy.select(migrations.c.name)))


def _migrate(engine: Engine) -> list[str]:
    done = []
    dialect = "sqlite" if engine.dialect.name == "sqlite" else "mysql"
    with engine.begin() as connection:
        applied = _applied(connection)
        if not applied:
            migrations.create(connection, checkfirst=True)
        for file in migration_files():
            if file.stem not in applied:
                for statement in statements(file.read_text("utf-8"), dialect):
                    _execute(connection, statement)
                connection.execute(_NOTE, {"name": file.stem, "applied": time.time()})
                done.append(file.stem)
    return done


def _execute(connection: Connection, statement: str) -> None:
    """Execute a statement of a migration; an index that MySQL has already, from one cut in the middle, is fine."""
    try:
        connection.exec_driver_sql(statement)
    except exc.OperationalError as error:
        if not error.orig or error.orig.args[0] != _INDEX_EXISTS:
            raise


@contextmanager
def _file_lock(engine: Engine) -> Iterator[None]:
    """Hold the lock file beside a SQLite database: several daemons start at once. Raises DatabaseAway."""
    database = Path(str(engine.url.database))
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = database.with_name(database.name + ".lock").open("ab")
        database.touch(0o600)  # keys of sessions and pictures of people are in it; one that is there keeps its mode
    except OSError as error:
        raise DatabaseAway(f"{describe(engine)} is away: {error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
