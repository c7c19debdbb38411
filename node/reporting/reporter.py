"""The reporter of an agent: samples, gathers events, and brings both to the collector, once and in order.

    children's events ─ packets(), links() ─▶ Outbox ─────────────┐ (bounded, memory)
    sampler thread ──── a row per period ───▶                     │ a report per period
                                                                  ▼
    collector ◀── POST, oldest first ── sender thread ◀── Spool (bounded, disk)

Nobody who hands something in waits: what has no room is dropped and counted. Every report passes through the spool,
so neither a collector that is away nor a killed agent loses one. What the collector refuses is set aside.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from node.processes.control import LinkStats
from node.reporting import sampler
from node.reporting.figures import Backlog
from node.reporting.gpu import Gpus
from node.reporting.outbox import Outbox
from node.reporting.sampler import ProcessSample
from node.transport.sender import Sender
from wire.credential import Credential
from wire.messages import Hardware, Load, PacketInfo
from wire.settings import ReporterSettings

__all__ = ["ProcessSample", "Reporter"]

FLUSH_S = 2.0  # how long stop() may take
MAX_LINKS = 10_000  # of a period
MAX_ENDED = 1_000  # of a period: last samples of processes

logger = logging.getLogger(__name__)


class Reporter:
    """See the module. start() and stop() once; all other methods from any thread, at any time."""

    def __init__(
        self,
        settings: ReporterSettings,
        node_id: int,
        boot_id: str,
        credential: Credential | None,
        processes: Callable[[], list[ProcessSample]],
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._gpus = Gpus()
        self._hardware = sampler.hardware(self._gpus)
        self._load = sampler.LoadMeter(self._gpus)
        self._sampler = sampler.Sampler(self._gpus)
        self._outbox = Outbox(node_id, boot_id)
        self._links: list[LinkStats] = []
        self._ended: list[ProcessSample] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._sender = Sender(settings, node_id, credential)
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._told = 0

    def start(self) -> None:
        """Begin to sample and to send, if the settings want it."""
        if self._settings.enabled:
            self._sender.start()
            self._thread.start()

    def stop(self) -> None:
        """Bring what is there to the collector, or at least to the spool; within FLUSH_S."""
        if self._settings.enabled:
            deadline = time.monotonic() + FLUSH_S
            self._stopped.set()
            self._thread.join(FLUSH_S)
            self._sender.stop(max(0.0, deadline - time.monotonic()))
        self._gpus.close()

    def packets(self, packets: Sequence[PacketInfo]) -> None:
        """Take events of frames."""
        if self._settings.enabled:
            self._outbox.add_packets(packets)

    def links(self, links: Sequence[LinkStats]) -> None:
        """Take what was sent to other nodes."""
        if self._settings.enabled:
            with self._lock:
                self._links.extend(links[: MAX_LINKS - len(self._links)])

    def ended(self, samples: Sequence[ProcessSample]) -> None:
        """Take the last samples of processes that have ended."""
        if self._settings.enabled:
            with self._lock:
                self._ended.extend(samples[: MAX_ENDED - len(self._ended)])

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

    def backlog(self) -> Backlog:
        """Return what waits for the collector."""
        reports, size = self._sender.waiting()
        return Backlog(reports=reports, bytes=size, dropped=self.dropped)

    # --- sampler thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        sample_at = time.monotonic() + self._settings.collect_info_period
        report_at = time.monotonic() + self._settings.send_report_period
        while not self._stopped.wait(max(0.0, min(sample_at, report_at) - time.monotonic())):
            now = time.monotonic()
            if now >= sample_at:
                self._guarded(self._sample)
                sample_at = now + self._settings.collect_info_period
            if now >= report_at:
                self._guarded(self._report)
                report_at = now + self._settings.send_report_period
        self._guarded(self._sample)
        self._guarded(self._report)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            logger.exception("%s failed", step.__name__.strip("_"))

    def _sample(self) -> None:
        system, gpus = self._sampler.system()
        living = self._processes()
        with self._lock:
            links, self._links = self._links, []
            ended, self._ended = self._ended, []
        processes = self._sampler.processes([*living, *ended])
        self._outbox.add_samples(system, processes, gpus, sampler.link_rows(links, system.timestamp))

    def _report(self) -> None:
        for report in self._outbox.take():
            self._sender.put(report)
        if self.dropped > self._told:
            logger.warning("reports or rows dropped since the start: %d", self.dropped)
            self._told = self.dropped
