"""G5 to G8 from records: clients' answers, what coordinators showed, what passed on the wire, tables. Pure.

G5 what was acknowledged is there     G6 no older placement answers after a newer one
G7 back within 5 s, or said why       G8 no frame notices coordinators, collector, database, disks
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.faults.checker import Answer
from tests.faults.hostile import Told
from tests.faults.mischief import Done
from tests.faults.plans import Fault, Part, What
from tests.faults.watching import Look, Passing

RECOVER_S = 5.0  # the promise
ROOM_S = 3.0  # all nodes share this machine's cores, and dead daemons are being started on them
LEARN_S = 4.0  # a node that was away hears within a heartbeat what it must not do any more
NOTICED_S = 2.5  # a frame that took so long, or a second post, has noticed something: on a machine that is not busy
CALM_S = 10.0  # after the last loud fault
SILENT = {Part.COLLECTOR, Part.DATABASE, Part.COORDINATOR, Part.REPORT, Part.QUERY, Part.SPOOL}
ALIVE = {"initialized", "running", "stopped", "degraded", "failed"}
Rows = Mapping[str, Collection[tuple[Any, ...]]]


@dataclass(frozen=True)
class Run:
    """A session's records. Times: monotonic s."""

    answers: Sequence[Answer]
    epochs: Mapping[int, int]  # sequence -> the epoch that answered it
    looks: Sequence[Look]
    faults: Sequence[Done]
    began: float
    ended: float  # of the clients
    busy: float = 1.0  # how much slower everything is than on an idle machine


# --- G5


def sessions(passing: Passing, states: Mapping[int, str | None]) -> Iterator[str]:
    """Acknowledged sessions are there until their end was acknowledged; states: None is unknown."""
    for session_id in passing.made:
        state, deleted = states[session_id], session_id in passing.deleted
        if deleted and state not in ("deleted", None):
            yield f"G5: session {session_id} was deleted, but is {state}"
        if not deleted and state not in ALIVE:
            yield f"G5: session {session_id} was acknowledged, but is {state}"


Noted = Sequence[tuple[int, str, int]]  # node_id, boot_id, report_id: of the table of reports
KEYS = {  # of a report's rows: the columns that the tables are compared by
    "sys_info": ("timestamp",),
    "proc_info": ("timestamp", "session_id", "handler_id"),
    "packet_info": ("timestamp", "session_id", "handler_id", "sequence", "event"),
    "link_info": ("timestamp", "target_node_id"),
}


def reports(
    acknowledged: Iterable[Mapping[str, Any]], noted: Sequence[tuple[int, str, int]], rows: Rows
) -> Iterator[str]:
    """Each acknowledged report is noted once, and all its rows are there; rows: table -> (node_id, *KEYS)."""
    count = Counter(noted)
    twice = [key for key, times in count.items() if times > 1]
    if twice:
        yield f"G5: reports noted twice: {twice[:5]}"
    for report in acknowledged:
        key = report["node_id"], report["boot_id"], report["report_id"]
        if count[key] != 1:
            yield f"G5: report {key} was acknowledged, but is noted {count[key]} times"
        for table, columns in KEYS.items():
            have = rows[table]
            lost = [r for r in report[table] if (report["node_id"], *(r[c] for c in columns)) not in have]
            if lost:
                yield f"G5: {len(lost)} of {len(report[table])} rows of {table} of report {key} are missing: {lost[0]}"


def gaps(noted: Noted, waiting: int, lost: Mapping[int, int], faults: Sequence[Fault] = ()) -> Iterator[str]:
    """Report ids of a boot have no gap but for those that the node says it lost; waiting: files in the spools.

    What waited in memory because the disk took nothing is lost without a word when the node is killed then.
    """
    if waiting:
        yield f"G8: {waiting} reports still wait in a spool"
    found: dict[tuple[int, str], set[int]] = defaultdict(set)
    for node_id, boot_id, report_id in noted:
        found[node_id, boot_id].add(report_id)
    missing: Counter[int] = Counter()
    for (node_id, _), ids in found.items():
        missing[node_id] += max(ids) - len(ids)
    for node_id, count in missing.items():
        if {Part.SPOOL, Part.NODE} <= {f.part for f in faults if f.node_id == node_id}:
            continue
        if count > lost.get(node_id, 0):
            yield f"G8: {count} reports of node {node_id} are missing, it says that it lost {lost.get(node_id, 0)}"


# --- G6


def fencing(run: Run) -> Iterator[str]:
    """No frame that was posted well after a newer epoch's first answer is answered by an older one."""
    newest: dict[int, float] = {}  # epoch -> when it answered first
    for answer in run.answers:
        epoch = run.epochs.get(answer.sequence if answer.sequence is not None else -1)
        if epoch is not None:
            newest[epoch] = min(newest.get(epoch, answer.ended), answer.ended)
    for answer in {a.key: a for a in sorted(run.answers, key=lambda a: -a.began)}.values():  # the first of each frame
        epoch = run.epochs.get(answer.sequence if answer.sequence is not None else -1)
        if epoch is None or answer.attempts > 1:  # it may be a kept one
            continue
        newer = min((at for other, at in newest.items() if other > epoch), default=float("inf"))
        if answer.began > newer + LEARN_S and not _away(run.faults, newer, answer.ended):
            yield f"G6: epoch {epoch} answered {answer.key} {answer.began - newer:.1f} s after a newer epoch's answer"


def placements(results: Iterable[Mapping[str, Any]], replicas: Mapping[int, int]) -> Iterator[str]:
    """In one epoch a handler works on as many nodes as it has replicas."""
    seen: dict[tuple[int, int], set[int]] = defaultdict(set)
    for result in results:
        for step in result["trace"]:
            seen[result["epoch"], step["handler_id"]].add(step["node_id"])
    for (epoch, handler_id), nodes in seen.items():
        if len(nodes) > replicas.get(handler_id, 1):
            yield f"G6: handler {handler_id} worked on nodes {sorted(nodes)} in epoch {epoch}"


def _away(faults: Iterable[Done], first: float, last: float) -> bool:
    """Return True when a node could not be told anything for part of this time."""
    return any(
        f.fault.part in (Part.APART, Part.CONTROL, Part.NODE, Part.COORDINATOR, Part.DATABASE, Part.QUERY)
        and f.began < last
        and f.ended + LEARN_S > first
        for f in faults
    )


# --- G7


def recovery(run: Run) -> Iterator[str]:
    """Between two good answers lie at most 5 s and what faults took meanwhile, unless the session said why."""
    good = sorted(a.ended for a in run.answers if a.status in ("ok", "failed", "dropped"))
    for before, after in pairwise([run.began, *good, run.ended]):
        allowed = (RECOVER_S + ROOM_S) * run.busy + sum(_takes(f, before, after) for f in run.faults)
        if after - before > allowed and not _told(run.looks, before, after):
            among = [f"{f.fault.what} {f.fault.part}" for f in run.faults if f.began < after and f.ended > before - 1]
            yield f"G7: no answer for {after - before:.1f} s of {allowed:.1f}, nothing told; faults: {among}"


def _takes(done: Done, first: float, last: float) -> float:
    """Return the s that a fault may have kept the session from going on, in this time."""
    if done.ended < first - 1.0 or done.began > last or done.fault.part in (Part.CLIENT, Part.SPOOL, Part.REPORT):
        return 0.0
    overlap = max(0.0, min(done.ended, last) - max(done.began, first))
    return overlap + (RECOVER_S if done.fault.part not in SILENT else 1.0)


def _told(looks: Iterable[Look], first: float, last: float) -> bool:
    return any(look.state in ("degraded", "failed") and look.reason for look in looks if first <= look.at <= last)


# --- G8


def loud(fault: Fault) -> bool:
    """Return True when frames may notice *fault*."""
    return fault.part not in SILENT and not (fault.part is Part.NODE and fault.what is What.CLOCK)


def isolation(run: Run) -> Iterator[str]:
    """Frames that met silent faults only are answered at once, by the first post."""
    told = 0
    for answer in run.answers:
        met = [f for f in run.faults if f.began - 0.5 < answer.ended and f.ended + CALM_S > answer.began]
        if not met or any(loud(f.fault) for f in met) or answer.status == "dropped":
            continue
        took = answer.ended - answer.began
        if (took > NOTICED_S * run.busy or answer.attempts > 1) and told < 5:
            told += 1
            parts = sorted({f"{f.fault.what} {f.fault.part}" for f in met})
            yield f"G8: frame {answer.key} took {took:.1f} s and {answer.attempts} posts while {parts} alone"


def hostile(told: Iterable[Told]) -> Iterator[str]:
    """A bad post is refused, a slow one served; none breaks anything."""
    fine = {What.CORRUPT: {422}, What.GIANT: {413}, What.DRIBBLE: {200, 202, 408}}
    for one in told:
        if one.status is not None and one.status not in fine[one.what] | {404, 409, 429, 503}:
            yield f"G9: a {one.what} post was answered {one.status}: {one.detail[-200:]}"
