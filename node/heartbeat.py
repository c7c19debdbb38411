"""Each second: tell the coordinator what this node is and holds; do what its answer asks for.

    heartbeat thread ──POST──▶ coordinator ──answer──▶ Convergence ──▶ a few threads: agent.put, start, stop, delete
An answer that is older than the session's last PUT or DELETE is ignored for that session. No answer changes nothing.
Of several coordinators one may learn SETTLE_S later what another has told this node: until then it starts and stops
nothing that was changed.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from node.agent import Agent
from node.clock import ClockFilter, Offset
from node.sessions import SessionError, Step, Strangers, converge
from wire.client import ControlClient, PeerAway, PeerError, read
from wire.messages import Heartbeat, HeartbeatAnswer, NodeSession, WantedSession

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
LEAST_S = 0.1  # between two heartbeats, whatever the hurry
TIMEOUT_S = 2.0
CONVERGE_THREADS = 4
RETRY_S = 5.0  # after a failed step for a session
SETTLE_S = 3.0  # a coordinator reads each second what others have written


class Convergence:
    """Brings the agent's sessions to what the coordinator wants, each session in one thread at a time."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._strangers = Strangers()
        self._busy: set[int] = set()
        self._not_before: dict[int, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CONVERGE_THREADS, thread_name_prefix="converge")

    def apply(self, answer: HeartbeatAnswer, asked_at: float) -> None:
        """Begin what *answer* asks for; it belongs to the heartbeat sent at *asked_at* (monotonic, s)."""
        held = {s.session_id: s for s in self._agent.sessions()}
        for wanted in answer.sessions:
            steps = _steps(wanted, held.get(wanted.session_id))
            if self._agent.roster.ended(wanted.session_id, wanted.epoch):
                continue  # another coordinator knows better
            since = asked_at if Step.PUT in steps else asked_at - SETTLE_S
            if steps and not self._agent.roster.changed_since(wanted.session_id, since):
                self._begin(wanted.session_id, lambda w=wanted, s=steps: self._take(w, s))  # type: ignore[misc]
        ours = [s for s in held if not self._agent.is_older(s)]
        for session_id in self._strangers.expired(ours, [w.session_id for w in answer.sessions], time.monotonic()):
            if not self._agent.roster.changed_since(session_id, asked_at):
                logger.warning("session %d is unknown to the coordinator: it ends here", session_id)
                self._begin(session_id, lambda s=session_id: self._agent.delete(s))  # type: ignore[misc]

    def nothing_heard(self) -> None:
        """Note that the coordinator is away."""
        self._strangers.forget()

    def stop(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, session_id: int, work: Callable[[], object]) -> None:
        with self._lock:
            if session_id in self._busy or time.monotonic() < self._not_before.get(session_id, 0.0):
                return
            self._busy.add(session_id)
        self._pool.submit(self._work, session_id, work)

    def _work(self, session_id: int, work: Callable[[], object]) -> None:
        try:
            work()
            self._not_before.pop(session_id, None)
        except SessionError as error:
            logger.warning("session %d is not as the coordinator wants it: %s", session_id, error)
            self._not_before[session_id] = time.monotonic() + RETRY_S
        except Exception:
            logger.exception("session %d: convergence broke", session_id)
            self._not_before[session_id] = time.monotonic() + RETRY_S
        finally:
            with self._lock:
                self._busy.discard(session_id)

    def _take(self, wanted: WantedSession, steps: Sequence[Step]) -> None:
        for step in steps:
            logger.info("session %d: %s, as the coordinator wants", wanted.session_id, step)
            if step is Step.PUT:
                self._agent.put(wanted.session_id, wanted.plan or self._agent.plan(wanted.session_id))
            elif step is Step.START:
                self._agent.start_session(wanted.session_id)
            elif step is Step.STOP:
                self._agent.stop_session(wanted.session_id)


def _steps(wanted: WantedSession, held: NodeSession | None) -> list[Step]:
    return converge(wanted, held.epoch if held else None, held.state if held else None)


class HeartbeatThread:
    """Sends heartbeats to the first coordinator that answers."""

    def __init__(
        self,
        urls: Sequence[str],
        client: ControlClient,
        compose: Callable[[Offset | None], Heartbeat],
        convergence: Convergence,
    ) -> None:
        self._urls = [u.rstrip("/") for u in urls]
        self._client = client
        self._compose = compose
        self._convergence = convergence
        self._current = 0  # index of the URL that answered last
        self._away = False
        self._clock = ClockFilter()
        self._stopped = threading.Event()
        self._due = threading.Event()  # a heartbeat shall go now
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """Send a heartbeat now: there is news that should not wait."""
        self._due.set()

    def clock(self) -> Offset | None:
        """Return how far our clock is from the coordinator's."""
        return self._clock.offset(time.monotonic())

    def stop(self, farewell: Heartbeat | None) -> None:
        """End the thread; tell the coordinator with *farewell* that the node leaves."""
        self._stopped.set()
        self._due.set()
        if self._thread.ident:
            self._thread.join(2 * TIMEOUT_S)
        self._convergence.stop()
        if farewell is not None and not self._away:
            self._ask(farewell)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._due.clear()
            began = time.monotonic()
            try:
                self._beat(began)
            except Exception:
                logger.exception("heartbeat broke")
            spent = time.monotonic() - began
            self._stopped.wait(LEAST_S)
            self._due.wait(max(0.0, PERIOD_S - LEAST_S - spent))
        self._client.close()

    def _beat(self, now: float) -> None:
        answer = self._ask(self._compose(self.clock()))
        if answer is None:
            self._convergence.nothing_heard()
        elif not self._stopped.is_set():
            self._convergence.apply(answer, now)

    def _ask(self, heartbeat: Heartbeat) -> HeartbeatAnswer | None:
        """Return the answer of the first coordinator that gives one, or None."""
        faults = []
        for turn in range(len(self._urls)):
            index = (self._current + turn) % len(self._urls)
            try:
                url = f"{self._urls[index]}/nodes/{heartbeat.node_id}/heartbeat"
                sent, began = time.time(), time.monotonic()
                body = self._client.post(url, heartbeat, TIMEOUT_S)
                heard = sent + time.monotonic() - began  # a clock that is set meanwhile does not matter
                answer = read(body, HeartbeatAnswer)
            except (PeerAway, PeerError, msgspec.DecodeError) as error:
                faults.append(str(error))
                continue
            if index != self._current:
                self._clock = ClockFilter()
            self._current = index
            if answer.received is not None and answer.answered is not None:
                self._clock.note(sent, answer.received, answer.answered, heard, time.monotonic())
            self._note(away=False, why=self._urls[index])
            return answer
        self._note(away=True, why="; ".join(faults))
        return None

    def _note(self, *, away: bool, why: str) -> None:
        """Log once per outage, and at its end."""
        if away and not self._away:
            logger.warning("no coordinator answers (%s); sessions go on", why)
        if not away and self._away:
            logger.warning("the coordinator is back: %s", why)
        self._away = away
