"""The collector's decisions: rows, older form, cut-offs, addresses."""

import re

import msgspec
import pytest

from collector import older, rows
from collector.nodes import configured, node_at
from collector.retention import cutoffs
from wire.database import is_local, migration_files, statements
from wire.messages import PacketEvent, PacketInfo, Report
from wire.resources import NodeFile
from wire.settings import CollectorSettings
from wire.tables import metadata


def test_rows_have_the_columns_of_their_tables() -> None:
    for table, columns in rows.COLUMNS.items():
        assert sorted(columns) == sorted(c.name for c in metadata.tables[table].columns)


def test_rows_of_several_reports_go_together_with_their_nodes() -> None:
    packet = PacketInfo(timestamp=1.0, session_id=2, handler_id=3, sequence=4, event=PacketEvent.SENT, size=5)
    reports = [Report(node_id=n, boot_id="b", report_id=1, packet_info=[packet]) for n in (1, 2)]
    assert rows.rows(reports) == {"packet_info": [(1.0, 2, 3, 4, "sent", 5, 1), (1.0, 2, 3, 4, "sent", 5, 2)]}
    assert rows.count(reports[0]) == 1


def test_statements_pass_over_repeated_keys_on_both_engines() -> None:
    assert rows.insert_statement("t", ["a", "b"], "sqlite") == "INSERT OR IGNORE INTO t (a, b) VALUES (?, ?)"
    assert rows.insert_statement("t", ["a", "b"], "mysql") == "INSERT IGNORE INTO t (a, b) VALUES (%s, %s)"


def test_older_events_have_our_names() -> None:
    given = [{"timestamp": 1, "session_id": 1, "handler_id": 1, "sequence": 1, "event": e} for e in older.OlderEvent]
    report = older.convert(msgspec.convert({"packet_info": given}, older.OlderReport), 9)
    assert [p.event.value for p in report.packet_info] == ["start", "end", "sent", "recv", "sent", "recv"]
    assert report.node_id == 9


def test_packets_leave_before_the_rest() -> None:
    found = {t.name: before for t, before in cutoffs(CollectorSettings(), 1e9)}
    assert found["packet_info"] == 1e9 - 24 * 3600
    assert found["sys_info"] == found["reports"] == 1e9 - 30 * 86400
    assert set(found) == {*rows.COLUMNS, "reports", "session_events", "sessions"}


def test_an_address_names_a_node() -> None:
    nodes = [
        NodeFile(node_id=2, node_name="b", node_addr="127.0.0.1"),
        NodeFile(node_id=1, node_name="a", node_addr="127.0.0.1"),
        NodeFile(node_id=3, node_name="c", node_addr="10.0.0.5"),
    ]
    addresses = configured(nodes)
    assert node_at(addresses, "10.0.0.5") == 3
    assert node_at(addresses, "::ffff:10.0.0.5") == 3
    assert node_at(addresses, "127.0.0.1") == 1  # the lowest of those that share it
    assert node_at(addresses, "10.0.0.6") is None


@pytest.mark.parametrize("dialect", ["sqlite", "mysql"])
def test_migrations_are_split_into_statements(dialect: str) -> None:
    sql = "-- a; comment;\nCREATE TABLE t (\n  a BIGINT SERIAL_KEY\n);\n\nINSERT INTO t VALUES (';');\n"
    create, insert = statements(sql, dialect)
    assert "SERIAL_KEY" not in create
    assert ("AUTO_INCREMENT" in create) == (dialect == "mysql")
    assert insert == "INSERT INTO t VALUES (';')"


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [int(re.match(r"\d+", f.name)[0]) for f in migration_files()]  # type: ignore[index]
    assert numbers == list(range(1, len(numbers) + 1))


def test_only_loopback_goes_without_tls() -> None:
    assert [is_local(a) for a in ("127.0.0.1", "::1", "localhost", "/run/s", "10.0.0.1", "db.example.org")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
