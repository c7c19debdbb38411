"""Schema and connection, on real SQLite and real MariaDB."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import CHAR, BigInteger, Double, Engine, Float, Integer, LargeBinary, Numeric, String, Text
from sqlalchemy.types import NullType, TypeEngine

from tests.integration.mariadb import MariaDB, mysql_settings
from wire import database as db
from wire.settings import DatabaseSettings
from wire.tables import metadata


def kind(column_type: "TypeEngine[object]") -> str:
    """Return the family of a column's type: what both engines agree on."""
    if isinstance(column_type, NullType):
        return "LargeBinary"  # what SQLAlchemy makes of a SQLite column with LONGBLOB as its type
    families = (BigInteger, Integer, Double, Float, CHAR, Text, String, LargeBinary)
    found = next((f.__name__ for f in families if isinstance(column_type, f)), type(column_type).__name__)
    if found == "Float" and isinstance(column_type, Numeric) and "DOUBLE" in str(column_type):
        found = "Double"
    length = getattr(column_type, "length", None)
    return f"{found}({length})" if found in ("CHAR", "String") else found


def shape(engine: Engine, source: sqlalchemy.MetaData) -> dict[str, object]:
    """Return tables, columns, nullability, keys and unique constraints of *source*, as plain values."""

    def real(column: "sqlalchemy.Column[object]") -> str:
        return kind(column.type.dialect_impl(engine.dialect))

    return {
        table.name: {
            "columns": [(c.name, real(c), bool(c.nullable)) for c in table.columns],
            "key": [c.name for c in table.primary_key.columns],
            "unique": sorted(
                (str(c.name), [k.name for k in c.columns])
                for c in table.constraints
                if isinstance(c, sqlalchemy.UniqueConstraint)
            ),
        }
        for table in source.tables.values()
    }


def unique_of(engine: Engine, table: str) -> list[tuple[str, list[str]]]:
    found = sqlalchemy.inspect(engine).get_unique_constraints(table)
    return sorted((str(u["name"]), [str(c) for c in u["column_names"]]) for u in found)


def test_the_migrated_database_is_what_the_tables_say(database: DatabaseSettings) -> None:
    """sql/ and wire/tables.py are two descriptions of one schema."""
    engine = db.connect(database)
    db.migrate(engine)
    reflected = sqlalchemy.MetaData()
    reflected.reflect(engine)
    found, wanted = shape(engine, reflected), shape(engine, metadata)
    for name, table in found.items():
        table["unique"] = unique_of(engine, name)  # type: ignore[index]
    assert found == wanted


def test_migrating_again_changes_nothing(database: DatabaseSettings) -> None:
    engine = db.connect(database)
    assert db.migrate(engine) == [f.stem for f in db.migration_files()]
    assert db.migrate(engine) == []
    db.check(engine)


def test_a_schema_without_migrations_is_said_to_lack_them(mariadb: MariaDB) -> None:
    engine = db.connect(mysql_settings(mariadb, mariadb.new_schema()))
    with pytest.raises(db.SchemaBehind, match=r"0001_initial.*--migrate"):
        db.check(engine)


def test_sqlite_is_made_once_by_many_who_start_at_once(tmp_path: Path) -> None:
    """Coordinator and collector workers open the database at the same moment."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom wire import database as db\n"
        "from wire.settings import DatabaseSettings\n"
        "db.check(db.connect(DatabaseSettings(db_path=Path(sys.argv[1]))))"
    )
    path = tmp_path / "new/folder/db.sqlite"
    started = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [p.wait(60) for p in started] == [0, 0, 0, 0]
    assert path.stat().st_mode & 0o777 == 0o600, "it holds keys of sessions and pictures of people"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM migrations").fetchone() == (len(db.migration_files()),)


def test_a_database_that_is_away_is_named_without_its_password(mariadb: MariaDB) -> None:
    settings = mysql_settings(mariadb, mariadb.new_schema())
    wrong = DatabaseSettings(
        **{n: getattr(settings, n) for n in settings.__struct_fields__} | {"db_passwd": "s3cret-x"}
    )
    nobody = DatabaseSettings(db_engine="mysql", db_port=1, db_user="u", db_passwd="s3cret-x", db_schema="s")
    for bad, says in ((wrong, "Access denied"), (nobody, "127.0.0.1:1")):
        with pytest.raises(db.DatabaseAway, match=says) as caught:
            db.check(db.connect(bad))
        assert "s3cret-x" not in str(caught.value)


def test_an_unwritable_sqlite_path_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    engine = db.connect(DatabaseSettings(db_path=tmp_path / "file" / "db.sqlite"))
    with pytest.raises(db.DatabaseAway, match=r"file/db\.sqlite"):
        db.check(engine)


def test_a_file_that_is_no_database_is_away(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    path.write_text("this is a text file, and long enough to be read as a header of a database file" * 20)
    with pytest.raises(db.DatabaseAway, match="not a database"):
        db.check(db.connect(DatabaseSettings(db_path=path)))


def test_the_database_user_is_kept_in_its_schema(mariadb: MariaDB) -> None:
    own, other = mariadb.new_schema(), "elsewhere"
    mariadb.admin(f"CREATE DATABASE IF NOT EXISTS {other}")
    engine = db.connect(mysql_settings(mariadb, own))
    with pytest.raises(sqlalchemy.exc.OperationalError), engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {other}.t (a INT)")
