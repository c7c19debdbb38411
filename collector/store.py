"""The only SQL of reports: many requests, one writer, one commit for all that waits.

    request threads ── queue (QUEUE_SIZE reports) ──▶ writer thread ── one transaction ──▶ database
          ▲                                                │
          └────────────────── outcome of its report ───────┘

A full queue drops nothing: the request is told Busy and the agent sends again. A batch that met another writer's locks
is written again at once, TRIES times. When the data is at fault its reports are tried one by one, so that only the bad
one is refused; whatever else the database says is no reason to refuse a report.
"""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, exc

from collector import counters, rows
from wire.database import Contended, DatabaseAway, away
from wire.messages import Report
from wire.tables import reports as reports_table

QUEUE_SIZE = 256  # reports that wait for the writer
BATCH_ROWS = 2000  # more rows in one statement gain nothing
TRIES = 4  # of a transaction that meets others' locks
PATIENCE_S = 10.0  # how long a request waits for its report's commit

logger = logging.getLogger(__name__)


class Busy(Exception):
    """The writer is behind; send again later."""


class Refused(Exception):
    """The database does not take this report, now or later; the message is its reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A report on its way; without identity (the older form) only its rows' keys keep it from being stored twice."""

    report: Report
    known: bool = True
    outcome: "Future[None]" = field(default_factory=Future)


class Store:
    """Writes reports. add() from any thread; one writer thread between start() and stop()."""

    def __init__(self, engine: Engine, *, queue_size: int = QUEUE_SIZE, patience: float = PATIENCE_S) -> None:
        self._engine = engine
        self._queue: queue.Queue[Entry | None] = queue.Queue(queue_size)
        self._patience = patience
        self._writer = threading.Thread(target=self._run, name="report-writer", daemon=True)
        dialect = engine.dialect.name
        self._note = rows.insert_statement("reports", [c.name for c in reports_table.columns], dialect)
        self._inserts = {table: rows.insert_statement(table, names, dialect) for table, names in rows.COLUMNS.items()}

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._queue.put(None)
        self._writer.join(self._patience)

    def add(self, report: Report, *, known: bool = True) -> None:
        """Return once *report* is committed. Raises DatabaseAway, Busy or Refused.

        A report that was stored before changes nothing; *known* says that its identity is the sender's own.
        """
        with counters.WAITING.track_inprogress():
            try:
                self._add(Entry(report, known))
            except (DatabaseAway, Busy, Refused) as error:
                counters.failed(error)
                raise
        counters.stored(report)

    def _add(self, entry: Entry) -> None:
        deadline = time.monotonic() + self._patience
        try:
            self._queue.put(entry, timeout=self._patience)
            entry.outcome.result(max(0.0, deadline - time.monotonic()))
        except queue.Full:
            raise Busy(f"{self._queue.maxsize} reports wait already") from None
        except FutureTimeout:
            raise Busy(f"not committed within {self._patience:g} s") from None

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = self._drain(first)
            try:
                with counters.COMMIT.time():
                    self._write(batch)
            except Exception as error:
                logger.exception("reports were not written")
                _settle(batch, error)

    def _drain(self, first: Entry) -> list[Entry]:
        """Return *first* and what waits behind it, up to BATCH_ROWS rows."""
        batch, total = [first], rows.count(first.report)
        while total < BATCH_ROWS:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                self._queue.put_nowait(None)  # stop() has been called: this batch is the last
                break
            batch.append(entry)
            total += rows.count(entry.report)
        return batch

    def _write(self, batch: Sequence[Entry]) -> None:
        """Commit *batch* and settle each outcome."""
        try:
            self._commit(batch)
        except DatabaseAway as error:
            logger.warning("%s", error)
            _settle(batch, error)
        except (exc.DataError, exc.IntegrityError) as error:
            if len(batch) == 1:
                logger.warning("report %s refused: %s", name(batch[0].report), error.orig)
                _settle(batch, Refused(str(error.orig)))
            else:
                for entry in batch:
                    self._write([entry])
        else:
            _settle(batch, None)

    def _commit(self, batch: Sequence[Entry]) -> None:
        """Write *batch* in one transaction. Raises DatabaseAway, DBAPIError."""
        for left in reversed(range(TRIES)):
            try:
                with away(self._engine), self._engine.begin() as connection:
                    self._insert(connection, batch)
            except Contended as error:
                if not left:
                    raise
                logger.info("written again: %s", error)
            else:
                return

    def _insert(self, connection: Connection, batch: Sequence[Entry]) -> None:
        """Insert the rows of the reports in *batch* that are new."""
        now = time.time()
        fresh = [
            e.report for e in sorted(batch, key=_identity) if not e.known or self._is_new(connection, e.report, now)
        ]
        for table, values in rows.rows(fresh).items():
            connection.exec_driver_sql(self._inserts[table], values)

    def _is_new(self, connection: Connection, report: Report, now: float) -> bool:
        """Note that *report* is there and return True unless it was; another writer's open note is waited for."""
        noted = connection.exec_driver_sql(self._note, (report.node_id, report.boot_id, report.report_id, now))
        return noted.rowcount == 1


def _identity(entry: Entry) -> tuple[int, str, int]:
    """Order of locking: the same for all writers, so that they wait for each other but do not deadlock."""
    return entry.report.node_id, entry.report.boot_id, entry.report.report_id


def _settle(batch: Sequence[Entry], error: Exception | None) -> None:
    for entry in batch:
        if not entry.outcome.done():
            if error is None:
                entry.outcome.set_result(None)
            else:
                entry.outcome.set_exception(error)


def name(report: Report) -> str:
    """Return what a log line calls *report*."""
    return f"{report.report_id} of node {report.node_id}, boot {report.boot_id}"
