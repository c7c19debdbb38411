"""Each second: tell the coordinator what this node is and holds; do what its answer asks for.

    heartbeat thread ──POST──▶ coordinator ──answer──▶ Convergence ──▶ a few threads: agent.put, start, stop, delete
An answer that is older than the session's last PUT or DELETE is ignored for that session. No answer changes nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from node.agent import Agent
from node.sessions import SessionError, Step, Strangers, converge
from wire.client import ControlClient, PeerAway, PeerError
from wire.messages import Heartbeat, HeartbeatAnswer, NodeSession, WantedSession

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
TIMEOUT_S = 2.0
CONVERGE_THREADS = 4
RETRY_S = 5.0  # after a failed step for a session


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
            if steps and not self._agent.changed_since(wanted.session_id, asked_at):
                self._begin(wanted.session_id, lambda w=wanted, s=steps: self._take(w, s))  # type: ignore[misc]
        ours = [s for s in held if not self._agent.is_older(s)]
        for session_id in self._strangers.expired(ours, [w.session_id for w in answer.sessions], time.monotonic()):
            if not self._agent.changed_since(session_id, asked_at):
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
        self, urls: Sequence[str], client: ControlClient, compose: Callable[[], Heartbeat], convergence: Convergence
    ) -> None:
        self._urls = [u.rstrip("/") for u in urls]
        self._client = client
        self._compose = compose
        self._convergence = convergence
        self._current = 0  # index of the URL that answered last
        self._away = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, farewell: Heartbeat | None) -> None:
        """End the thread; tell the coordinator with *farewell* that the node leaves."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(2 * TIMEOUT_S)
        self._convergence.stop()
        if farewell is not None and not self._away:
            self._ask(farewell)

    def _run(self) -> None:
        wait = 0.0
        while not self._stopped.wait(wait):
            began = time.monotonic()
            try:
                self._beat(began)
            except Exception:
                logger.exception("heartbeat broke")
            wait = max(0.05, PERIOD_S - (time.monotonic() - began))
        self._client.close()

    def _beat(self, now: float) -> None:
        answer = self._ask(self._compose())
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
                answer = msgspec.json.decode(self._client.post(url, heartbeat, TIMEOUT_S), type=HeartbeatAnswer)
            except (PeerAway, PeerError, msgspec.DecodeError) as error:
                faults.append(str(error))
                continue
            self._current = index
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
