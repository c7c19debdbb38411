"""The reporter of an agent: samples, gathers events, and brings both to the collector, once and in order.

    children's events ─ packets(), links() ─▶ Outbox (bounded, memory) ─ sender thread ─▶ Spool (bounded, disk)
    sampler thread ── a row per period ─────▶                                                  │ oldest first
                                                                       collector ◀── POST ────┘

Nobody who hands something in waits: what has no room is dropped and counted. Every report passes through the spool,
so a collector that is away, or a killed agent, loses none. One that the collector refuses is set aside.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address

import msgspec

from node import sampler
from node.control import LinkStats
from node.gpu import Gpus
from node.outbox import Outbox, Verdict, pause, verdict
from node.sampler import ProcessSample
from node.spool import Spool
from wire.client import ControlClient, PeerAway, PeerError
from wire.messages import Hardware, LinkInfo, Load, PacketInfo
from wire.settings import ReporterSettings

__all__ = ["ProcessSample", "Reporter"]

MIB = 1 << 20
SEND_TIMEOUT_S = 15.0  # longer than the collector's own patience with its database
FLUSH_S = 2.0  # how long stop() may take
MAX_LINKS = 10_000  # of a period

logger = logging.getLogger(__name__)


class Reporter:
    """See the module. start() and stop() once; all other methods from any thread, at any time."""

    def __init__(
        self,
        settings: ReporterSettings,
        node_id: int,
        boot_id: str,
        token: str | None,
        processes: Callable[[], list[ProcessSample]],
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._gpus = Gpus()
        self._hardware = sampler.hardware(self._gpus)
        self._load = sampler.LoadMeter()
        self._sampler = sampler.Sampler(self._gpus)
        self._outbox = Outbox(node_id, boot_id)
        self._links: list[LinkStats] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._sender = Sender(settings, node_id, token)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to sample and to send, if the settings want it."""
        if self._settings.enabled:
            self._threads = [
                threading.Thread(target=self._sample_all, name="sampler", daemon=True),
                threading.Thread(target=self._send_all, name="reporter", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Bring what is there to the collector, or at least to the spool; within about FLUSH_S."""
        self._stopped.set()
        deadline = time.monotonic() + FLUSH_S + 0.5
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def packets(self, packets: Sequence[PacketInfo]) -> None:
        """Take events of frames."""
        if self._settings.enabled:
            self._outbox.add_packets(packets)

    def links(self, links: Sequence[LinkStats]) -> None:
        """Take what was sent to other nodes."""
        if self._settings.enabled:
            with self._lock:
                self._links.extend(links[: MAX_LINKS - len(self._links)])

    def load(self) -> Load:
        """Return the node's load since the last call."""
        return self._load.read()

    def hardware(self) -> Hardware:
        """Return what the node has; read once, at the start."""
        return self._hardware

    @property
    def dropped(self) -> int:
        """Rows and reports that found no room, since the start."""
        return self._outbox.dropped + self._sender.dropped

    # --- sampler thread -------------------------------------------------------------------------------

    def _sample_all(self) -> None:
        while not self._stopped.wait(self._settings.collect_info_period):
            self._sample()

    def _sample(self) -> None:
        try:
            system, gpus = self._sampler.system()
            processes = self._sampler.processes(self._processes())
            self._outbox.add_samples(system, processes, gpus, self._link_rows(system.timestamp))
        except Exception:
            logger.exception("no sample")

    def _link_rows(self, timestamp: float) -> list[LinkInfo]:
        with self._lock:
            links, self._links = self._links, []
        return sampler.link_rows(links, timestamp)

    # --- sender thread --------------------------------------------------------------------------------

    def _send_all(self) -> None:
        wait = self._settings.send_report_period
        gathered = time.monotonic()
        while not self._stopped.wait(wait):
            try:
                if time.monotonic() - gathered >= self._settings.send_report_period:
                    gathered = time.monotonic()
                    self._sender.put(self._outbox)
                self._sender.send(self._stopped)
            except Exception:
                logger.exception("reports wait")
            wait = self._until_next(gathered)
        self._flush()

    def _until_next(self, gathered: float) -> float:
        """Return the seconds to the next report or the next attempt, whichever comes first."""
        period = self._settings.send_report_period
        to_report = max(0.0, gathered + period - time.monotonic())
        return min(to_report, self._sender.retry_in()) if self._sender.failures else to_report

    def _flush(self) -> None:
        """Write the last report and send what can be sent at once."""
        try:
            self._sample()
            self._sender.put(self._outbox)
            if not self._sender.failures:
                self._sender.send(threading.Event(), FLUSH_S)
        except Exception:
            logger.exception("the last reports were not written")
        finally:
            self._gpus.close()


class Sender:
    """Reports into the spool, and out of it to the collector. One thread."""

    def __init__(self, settings: ReporterSettings, node_id: int, token: str | None) -> None:
        self._path = settings.spool_path / str(node_id)
        self._limit = settings.spool_limit_mb * MIB
        self._url = f"http://{_host(settings.collector_addr)}:{settings.collector_port}/reports"
        self._client = ControlClient(token)
        self._spool: Spool | None = None
        self._next_try = 0.0  # time.monotonic()
        self._lost = 0  # reports that the disk did not take
        self._told = 0
        self.failures = 0  # attempts in a row

    @property
    def dropped(self) -> int:
        """Reports dropped: no room in the spool, or no disk."""
        return self._lost + (self._spool.dropped if self._spool else 0)

    def retry_in(self) -> float:
        """Return the seconds to the next attempt."""
        return max(0.0, self._next_try - time.monotonic())

    def put(self, outbox: Outbox) -> None:
        """Move what waits in *outbox* to the disk; without a disk it is dropped, and counted."""
        for report in outbox.take():
            try:
                self._open().put(msgspec.json.encode(report))
            except OSError as error:
                self._lost += 1
                logger.error("report %d is lost: %s", report.report_id, error)
        total = self.dropped + outbox.dropped
        if total > self._told:
            logger.warning("reports or rows dropped since the start: %d", total)
            self._told = total

    def send(self, stopped: threading.Event, budget: float = float("inf")) -> None:
        """Send all that waits, oldest first, until one fails, *stopped* is set or *budget* seconds are over."""
        deadline = time.monotonic() + budget
        if self.failures and self.retry_in() > 0:
            return
        while not stopped.is_set() and (left := deadline - time.monotonic()) > 0:
            waiting = self._open().first()
            if waiting is None:
                return
            name, data = waiting
            status, detail = self._post(data, min(SEND_TIMEOUT_S, left))
            self._settle(name, status, detail)
            if verdict(status) is Verdict.KEEP:
                return

    def _open(self) -> Spool:
        """Return the spool, opened when it is first needed. Raises OSError."""
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
            self.failures += 1
            self._next_try = time.monotonic() + pause(self.failures)
            if self.failures == 1:
                logger.warning("reports wait on disk: %s", detail)
            return
        if self.failures:
            logger.info("the collector answers again: %d reports wait", len(self._open()))
        self.failures = 0
        if decided is Verdict.ARRIVED:
            self._open().remove(name)
        else:
            logger.error("report set aside as %s: %s", self._open().set_aside(name), detail)


def _host(addr: str) -> str:
    """Return *addr* as URLs have it."""
    try:
        return f"[{addr}]" if isinstance(ip_address(addr), IPv6Address) else addr
    except ValueError:
        return addr
