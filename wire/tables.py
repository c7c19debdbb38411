"""The database's tables for SQLAlchemy Core. `sql/` makes them; a test compares the two on both engines.

Telemetry keys start with the timestamp, so that rows are appended at the end of the table, and name all that makes
a row one event, so that writing a row again changes nothing. JSON is kept as text: no query looks into it.
"""

from typing import Any

from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Double,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.mysql import LONGBLOB, MEDIUMTEXT
from sqlalchemy.types import TypeEngine

metadata = MetaData()


def _required(name: str, kind: "TypeEngine[Any]", *, default: str | None = None) -> "Column[Any]":
    return Column(name, kind, nullable=False, server_default=None if default is None else text(default))


def _key(name: str, kind: "TypeEngine[Any]") -> "Column[Any]":
    return Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def _json(name: str) -> "Column[Any]":
    return Column(name, Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False)


def _gpu() -> "list[Column[Any]]":
    return [Column(name, Integer()) for name in ("gpu_util", "gpu_mem_util")]


sys_info = Table(
    "sys_info",
    metadata,
    _key("timestamp", Double()),  # s since the epoch
    _key("node_id", Integer()),
    _required("cpu_util", Float()),  # %
    _required("mem_total", Integer()),  # MiB
    _required("mem_util", Float()),  # %
    *_gpu(),  # %, means over the node's GPUs; NULL without
    Column("gpu_clock", Integer()),  # MHz, mean
    Column("gpu_power", Integer()),  # W, sum
)

gpu_info = Table(
    "gpu_info",
    metadata,
    _key("timestamp", Double()),
    _key("node_id", Integer()),
    _key("gpu_id", Integer()),
    _required("gpu_util", Integer()),
    _required("gpu_mem_util", Integer()),
    _required("gpu_clock", Integer()),
    _required("gpu_power", Integer()),
)

proc_info = Table(
    "proc_info",
    metadata,
    _key("timestamp", Double()),
    _key("session_id", Integer()),
    _key("handler_id", Integer()),
    _key("node_id", Integer()),
    _required("cpu_util", Float()),  # % of one core
    _required("mem_util", Float()),  # %
    *_gpu(),
    _required("queue_size", Integer()),
    _required("frames", Integer()),  # executed in the period
    Column("service_ms", Float()),  # mean of the period
)

packet_info = Table(
    "packet_info",
    metadata,
    _key("timestamp", Double()),
    _key("session_id", Integer()),
    _key("handler_id", Integer()),
    _key("sequence", BigInteger()),
    _key("event", String(8)),  # wire.messages.PacketEvent
    _key("node_id", Integer()),
    Column("size", Integer()),  # bytes, of sent and recv
    Index("packet_info_by_frame", "session_id", "sequence"),
)

link_info = Table(
    "link_info",
    metadata,
    _key("timestamp", Double()),
    _key("node_id", Integer()),  # the sender
    _key("target_node_id", Integer()),
    _required("frames", Integer()),
    _required("bytes", BigInteger()),
    _required("send_ms", Float()),  # mean per frame
)

reports = Table(
    "reports",
    metadata,
    _key("node_id", Integer()),
    _key("boot_id", String(64)),
    _key("report_id", BigInteger()),
    _required("received", Double()),
    UniqueConstraint("received", "node_id", "boot_id", "report_id", name="reports_by_age"),
)

nodes = Table(
    "nodes",
    metadata,
    _key("node_id", Integer()),
    _required("node_name", String(128)),
    _required("boot_id", String(64)),
    _required("control_url", String(512)),
    _required("data_url", String(512)),
    _json("heartbeat"),  # wire.messages.Heartbeat
    _required("last_seen", Double()),
    _required("cordoned", Integer(), default="0"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Integer(), primary_key=True, nullable=False, autoincrement=True),
    _required("session_key", String(64)),
    _required("service", String(128)),
    _required("variant", String(128)),
    _required("state", String(16)),
    _required("epoch", BigInteger()),
    _required("accept_from", BigInteger()),
    _json("request"),  # wire.messages.SessionRequest
    _json("plan"),
    _required("created", Double()),
    _required("updated", Double()),
    Column("reason", Text()),
    UniqueConstraint("session_key", name="sessions_by_key"),
    sqlite_autoincrement=True,
)

session_events = Table(
    "session_events",
    metadata,
    Column(
        "event_id",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        nullable=False,
        autoincrement=True,
    ),
    _required("timestamp", Double()),
    _required("session_id", Integer()),
    _required("event", String(32)),
    _json("detail"),
    UniqueConstraint("session_id", "event_id", name="session_events_by_session"),
    sqlite_autoincrement=True,
)

leader = Table(
    "leader",
    metadata,
    _key("id", Integer()),
    _required("holder", String(128)),
    _required("term", BigInteger()),
    _required("lease_until", Double()),
)


def _pictures(name: str) -> Table:
    return Table(
        name,
        metadata,
        _key("gallery", String(128)),
        _key("label", String(128)),
        _key("name", String(128)),
        _required("sha256", CHAR(64)),
        _required("picture", LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")),
        _required("created", Double()),
    )


galleries = _pictures("galleries")
gallery_negatives = _pictures("gallery_negatives")  # of others who are taken for the label and are not

gallery_versions = Table(
    "gallery_versions",
    metadata,
    _key("gallery", String(128)),
    _required("version", BigInteger()),  # grows with every change; the row outlives the gallery
    _required("present", Integer()),  # 0 when it was deleted
    _required("updated", Double()),
)

migrations = Table(
    "migrations",
    metadata,
    _key("name", String(128)),
    _required("applied", Double()),
)
