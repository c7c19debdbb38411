"""Old rows leave in small batches, so that no writer waits long for a clean-up."""

import logging
import threading
import time
from collections.abc import Iterator

from sqlalchemy import Engine, Table, and_, delete, select, true

from collector import counters
from wire.database import DatabaseAway, away
from wire.settings import CollectorSettings
from wire.tables import gpu_info, link_info, packet_info, proc_info, reports, session_events, sessions, sys_info

BATCH_ROWS = 5000
PERIOD_S = 600.0  # also before the first: what has just arrived late is seen for a while
PAUSE_S = 0.1  # between batches: others write meanwhile
HOUR_S, DAY_S = 3600.0, 86400.0
DELETED = "deleted"  # the state of a session that nobody needs any more
_AGES = {reports.name: "received", sessions.name: "updated"}  # of other tables: timestamp

logger = logging.getLogger(__name__)


def cutoffs(settings: CollectorSettings, now: float) -> list[tuple[Table, float]]:
    """Return each table with the time (s since the epoch) whose older rows may go."""
    old = now - settings.retention_days * DAY_S
    kept = [(t, old) for t in (sys_info, gpu_info, proc_info, link_info, reports, session_events, sessions)]
    return [(packet_info, now - settings.packet_retention_hours * HOUR_S), *kept]


def clean(engine: Engine, table: Table, before: float, *, batch_rows: int = BATCH_ROWS) -> Iterator[int]:
    """Delete the rows of *table* older than *before*; yield the number deleted after each commit.

    Of sessions those that were deleted, and so long ago. A batch ends at the time of its last row, so rows of that one
    moment may make it longer.
    """
    age = table.c[_AGES.get(table.name, "timestamp")]
    goes = sessions.c.state == DELETED if table is sessions else true()
    while True:
        with away(engine), engine.begin() as connection:
            last = connection.scalar(
                select(age).where(goes, age < before).order_by(age).offset(batch_rows - 1).limit(1)
            )
            condition = age < before if last is None else age <= last
            deleted = connection.execute(delete(table).where(and_(goes, condition))).rowcount
        yield deleted
        if last is None:
            return


class Cleaner:
    """Cleans each PERIOD_S in a thread of its own; several at once do no harm."""

    def __init__(self, engine: Engine, settings: CollectorSettings) -> None:
        self._engine, self._settings = engine, settings
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                self._clean_all()
            except DatabaseAway as error:
                logger.warning("no clean-up: %s", error)
            except Exception:
                logger.exception("no clean-up")

    def _clean_all(self) -> None:
        for table, before in cutoffs(self._settings, time.time()):
            deleted = 0
            for number in clean(self._engine, table, before):
                deleted += number
                counters.deleted(table.name, number)
                if self._stopped.wait(PAUSE_S):
                    return
            if deleted:
                logger.info("%d old rows left %s", deleted, table.name)
