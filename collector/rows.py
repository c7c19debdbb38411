"""Reports as rows of the telemetry tables. Pure."""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import msgspec

from wire.messages import GpuInfo, LinkInfo, PacketInfo, ProcInfo, Report, SysInfo
from wire.tables import gpu_info, link_info, packet_info, proc_info, sys_info

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]  # table -> rows, in the order of COLUMNS

_STRUCTS: dict[str, type[msgspec.Struct]] = {
    sys_info.name: SysInfo,
    gpu_info.name: GpuInfo,
    proc_info.name: ProcInfo,
    packet_info.name: PacketInfo,
    link_info.name: LinkInfo,
}
COLUMNS = {table: (*struct.__struct_fields__, "node_id") for table, struct in _STRUCTS.items()}
_values: dict[str, Callable[[object], Row]] = {t: attrgetter(*s.__struct_fields__) for t, s in _STRUCTS.items()}


def rows(reports: Iterable[Report]) -> Rows:
    """Return all rows of *reports*, per table; tables without rows are left out."""
    found: Rows = {}
    for report in reports:
        node = (report.node_id,)
        for table, values in _values.items():
            items = getattr(report, table)
            if items:
                found.setdefault(table, []).extend(values(item) + node for item in items)
    return found


def count(report: Report) -> int:
    """Return the number of rows in *report*."""
    return sum(len(getattr(report, table)) for table in COLUMNS)


def insert_statement(table: str, columns: Iterable[str], dialect: str) -> str:
    """Return the INSERT for the driver's executemany that passes over rows whose key is there already."""
    names = list(columns)
    ignore, mark = ("OR IGNORE", "?") if dialect == "sqlite" else ("IGNORE", "%s")
    marks = ", ".join([mark] * len(names))
    return f"INSERT {ignore} INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names are constants
