"""The sessions of a node, as decisions: states, epochs, what a new plan changes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from wire.messages import HandlerSpec, Running, SessionPlan, WantedSession

UNKNOWN_FOR_S = 10.0  # a session that the coordinator does not name for so long ends
ENDED_FOR_S = 10.0  # coordinators share what they know each control_period


class SessionError(Exception):
    """Base of what goes wrong with a session."""


class UnknownSession(SessionError):
    """No such session here."""


class SessionInUse(SessionError):
    """The id belongs to a session made in another way."""


class StaleEpoch(SessionError):
    """The plan is older than the one held."""


class InvalidTransition(SessionError):
    """The session's state does not allow it; the message reads "stop while initialized"."""


class BadPlan(SessionError):
    """The plan cannot be carried out by any node; `pointer` names the part (RFC 6901)."""

    def __init__(self, message: str, pointer: str) -> None:
        super().__init__(message)
        self.pointer = pointer


class NotPrepared(SessionError):
    """A local handler cannot run here, or has not prepared in time."""


class Event(StrEnum):
    """What happens to a session."""

    PREPARED, START, STOP = "prepare", "start", "stop"


TRANSITIONS = {
    (Running.PREPARING, Event.PREPARED): Running.INITIALIZED,
    (Running.INITIALIZED, Event.PREPARED): Running.INITIALIZED,
    (Running.RUNNING, Event.PREPARED): Running.RUNNING,
    (Running.STOPPED, Event.PREPARED): Running.STOPPED,
    (Running.INITIALIZED, Event.START): Running.RUNNING,
    (Running.RUNNING, Event.STOP): Running.STOPPED,
    (Running.STOPPED, Event.START): Running.RUNNING,
}


def transition(state: Running, event: Event) -> Running:
    """Return the state after *event*. Raises InvalidTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidTransition(f"{event} while {state}") from None


def check_epoch(held: SessionPlan | None, offered: SessionPlan) -> None:
    """Raise StaleEpoch when *offered* is older than *held*."""
    if held is not None and offered.epoch < held.epoch:
        raise StaleEpoch(f"epoch {offered.epoch} is older than {held.epoch}, which this node holds")


@dataclass(frozen=True, slots=True)
class Change:
    """What a new plan asks of this node's handlers. A changed one is in both `stop` and `start`."""

    start: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    keep: list[int] = field(default_factory=list)


def diff(old: SessionPlan | None, new: SessionPlan, broken: Iterable[int] = ()) -> Change:
    """Return how to come from *old* (None: nothing) to *new*; *broken* handlers are started afresh.

    A new window changes the depth of every queue, which a living process cannot: then all are started afresh.
    """
    before, after = _local(old), _local(new)
    gone = set(broken) if old is None or old.window == new.window else set(before)
    keep = [h for h, spec in after.items() if h in before and h not in gone and same(before[h], spec)]
    return Change(
        start=[h for h in after if h not in keep],
        stop=[h for h in before if h not in keep],
        keep=keep,
    )


def leaving(old: SessionPlan | None, left: Iterable[int], new: SessionPlan) -> frozenset[int]:
    """Return the handlers that have no place here under *new* and go on with what is on its way to them.

    left: those that were leaving before. They may stay while frames of an older epoch are welcome.
    """
    if new.accept_from >= new.epoch:
        return frozenset()
    return frozenset([*left, *(old.local if old is not None else ())]) - frozenset(new.local)


def senders(before: frozenset[int] | None, new: SessionPlan) -> frozenset[int] | None:
    """Return the nodes whose packets are taken under *new*: those that have a part in it. None: any node's.

    before: what was returned for the plan before, None without one. While frames of an older epoch are welcome, so are
    the nodes that they come from; a node that is new to the session cannot know which those are.
    """
    nodes = frozenset(r.node_id for replicas in new.routes.values() for r in replicas) | {new.entry.node_id}
    if new.accept_from >= new.epoch:
        return nodes
    return None if before is None else before | nodes


def same(one: HandlerSpec, other: HandlerSpec) -> bool:
    """Return True when a process of *one* can serve as *other*: names do not matter."""
    return (one.handler_type, one.params) == (other.handler_type, other.params)


def _local(plan: SessionPlan | None) -> dict[int, HandlerSpec]:
    if plan is None:
        return {}
    return {h.handler_id: h for h in plan.graph.handlers if h.handler_id in plan.local}


class Step(StrEnum):
    """What to do to come nearer to what the coordinator wants."""

    PUT, START, STOP = "put", "start", "stop"


def converge(wanted: WantedSession, epoch: int | None, state: Running | None) -> list[Step]:
    """Return the steps from what is held (*epoch*, *state*; None: nothing) to *wanted*.

    A put without a plan repeats the one held: its preparation has not come to an end.
    """
    newer = wanted.plan is not None and (epoch is None or epoch < wanted.plan.epoch)
    if epoch is None and not newer:
        return []
    put = newer or state is Running.PREPARING
    if state in (None, Running.PREPARING):
        state = Running.INITIALIZED  # once it is prepared
    steps = [Step.PUT] if put else []
    if wanted.state is Running.RUNNING and state in (Running.INITIALIZED, Running.STOPPED):
        steps.append(Step.START)
    if wanted.state in (Running.INITIALIZED, Running.STOPPED) and state is Running.RUNNING:
        steps.append(Step.STOP)
    return steps


class Strangers:
    """How long the coordinator has not known a session: only answers count, so its absence ends nothing."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def expired(self, held: Iterable[int], wanted: Iterable[int], now: float) -> list[int]:
        """Return those of *held* that have been missing from *wanted* for UNKNOWN_FOR_S (now: monotonic, s)."""
        missing = sorted(set(held) - set(wanted))
        self._since = {s: self._since.get(s, now) for s in missing}
        return [s for s in missing if now - self._since[s] >= UNKNOWN_FOR_S]

    def forget(self) -> None:
        """Begin anew: the coordinator did not answer."""
        self._since.clear()


class Ended:
    """Which sessions were ended here: a coordinator that has not heard of it yet must not bring them back."""

    def __init__(self) -> None:
        self._ended: dict[int, tuple[int, float]] = {}  # session_id -> epoch, monotonic s

    def note(self, session_id: int, epoch: int, now: float) -> None:
        """Note that a session was ended at *epoch* (now: monotonic, s)."""
        self._ended = {s: e for s, e in self._ended.items() if now - e[1] < ENDED_FOR_S}
        self._ended[session_id] = (epoch, now)

    def covers(self, session_id: int, epoch: int, now: float) -> bool:
        """Return True when *epoch* of the session was ended lately; a later one is another placement."""
        ended, at = self._ended.get(session_id, (-1, 0.0))
        return epoch <= ended and now - at < ENDED_FOR_S
