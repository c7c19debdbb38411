"""Reports out of the spool to the collector: in order, each until it is answered, with a growing pause between."""

import logging
import threading
import time
from ipaddress import IPv6Address, ip_address

import msgspec

from node.reporting.outbox import Verdict, pause, verdict
from node.reporting.spool import Spool
from wire.client import ControlClient, PeerAway, PeerError
from wire.credential import Credential
from wire.messages import Report
from wire.settings import ReporterSettings

MIB = 1 << 20
SEND_TIMEOUT_S = 15.0  # longer than the collector's own patience with its database

logger = logging.getLogger(__name__)


class Sender:
    """put() from one thread; a thread of its own sends between start() and stop()."""

    def __init__(self, settings: ReporterSettings, node_id: int, credential: Credential | None) -> None:
        self._path = settings.spool_path / str(node_id)
        self._limit = settings.spool_limit_mb * MIB
        scheme = "https" if settings.secure else "http"
        self._url = f"{scheme}://{_host(settings.collector_addr)}:{settings.collector_port}/reports"
        self._client = ControlClient(credential)
        self._opening = threading.Lock()
        self._spool: Spool | None = None
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._failures = 0  # attempts in a row
        self._next_try = 0.0  # time.monotonic()
        self._deadline = 0.0  # time.monotonic(), of stop()
        self._lost = 0  # reports for which there is no folder
        self._diskless = False  # as the last put() found it

    @property
    def dropped(self) -> int:
        """Reports dropped: no room in the spool, or no folder for it."""
        return self._lost + (0 if self._spool is None else self._spool.dropped)

    def waiting(self) -> tuple[int, int]:
        """Return how many reports wait on disk, and their bytes."""
        return (0, 0) if self._spool is None else (len(self._spool), self._spool.size)

    def start(self) -> None:
        """Begin to send; what an earlier run left in the spool goes first."""
        self._news.set()
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Send what can be sent at once, within *patience* seconds; the rest stays in the spool."""
        self._deadline = time.monotonic() + patience
        self._stopping.set()
        self._news.set()
        self._thread.join(patience)

    def put(self, report: Report) -> None:
        """Keep *report* on disk, to be sent. Without a folder for it, it is lost, and counted."""
        try:
            self._note_disk(self._open().put(msgspec.json.encode(report)))
        except OSError as error:
            self._lost += 1
            logger.error("report %d is lost: %s", report.report_id, error)
        self._news.set()

    def _note_disk(self, fault: OSError | None) -> None:
        """Log once per outage of the disk, and at its end."""
        if fault is not None and not self._diskless:
            logger.error("the disk takes no reports, they wait in memory: %s", fault)
        if fault is None and self._diskless:
            logger.warning("the disk takes reports again; dropped since the start: %d", self.dropped)
        self._diskless = fault is not None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(self._retry_in() if self._failures else None)
            self._news.clear()
            self._attempt()
        if not self._failures:
            self._attempt()

    def _attempt(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # of the disk, or a fault of ours: the thread lives on
            logger.exception("reports wait")
            self._failed(str(error))

    def _retry_in(self) -> float:
        return max(0.0, self._next_try - time.monotonic())

    def _send_all(self) -> None:
        """Send what waits, oldest first, until the collector is found away."""
        stopping = self._stopping.is_set()
        while self._stopping.is_set() == stopping and (left := self._time_left()) > 0:
            if self._failures and self._retry_in() > 0:
                return
            waiting = self._open().first()
            if waiting is None:
                return
            name, data = waiting
            self._settle(name, *self._post(data, min(SEND_TIMEOUT_S, left)))

    def _time_left(self) -> float:
        return self._deadline - time.monotonic() if self._stopping.is_set() else SEND_TIMEOUT_S

    def _open(self) -> Spool:
        """Return the spool, opened when it is first needed. Raises OSError."""
        with self._opening:
            if self._spool is None:
                self._spool = Spool(self._path, self._limit)
            return self._spool

    def _post(self, data: bytes, timeout: float) -> tuple[int | None, str]:
        """Return the answer's status (None: no answer) and why it is no success."""
        try:
            self._client.post(self._url, msgspec.Raw(data), timeout=timeout)
        except PeerAway as error:
            return None, str(error)
        except PeerError as error:
            pointer = error.problem.get("pointer")
            return error.status, f"{error}" + (f" at {pointer}" if pointer else "")
        return 200, ""

    def _settle(self, name: str, status: int | None, detail: str) -> None:
        decided = verdict(status)
        if decided is Verdict.KEEP:
            self._failed(detail)
            return
        if self._failures:
            logger.info("the collector answers again: %d reports wait", len(self._open()))
        self._failures = 0
        if decided is Verdict.ARRIVED:
            self._open().remove(name)
        else:
            logger.error("report set aside as %s: %s", self._open().set_aside(name), detail)

    def _failed(self, detail: str) -> None:
        self._failures += 1
        self._next_try = time.monotonic() + pause(self._failures)
        if self._failures == 1:
            logger.warning("reports wait on disk: %s", detail)


def _host(addr: str) -> str:
    """Return *addr* as URLs have it."""
    try:
        return f"[{addr}]" if isinstance(ip_address(addr), IPv6Address) else addr
    except ValueError:
        return addr
