"""Databases for the integration tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.mariadb import MariaDB, mysql_settings, new_folder
from wire.settings import DatabaseSettings


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A server that all tests share: don't stop it."""
    server = MariaDB(new_folder(tmp_path_factory))
    yield server
    server.stop()


@pytest.fixture
def own_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A server that the test may kill."""
    server = MariaDB(new_folder(tmp_path_factory))
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseSettings:
    """An empty database, not yet migrated, on each engine in turn."""
    if request.param == "sqlite":
        return DatabaseSettings(db_engine="sqlite", db_path=tmp_path / "run/test.sqlite")
    server: MariaDB = request.getfixturevalue("mariadb")
    return mysql_settings(server, server.new_schema())
