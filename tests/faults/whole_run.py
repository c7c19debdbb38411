"""One run of the whole system: sessions, clients, faults of every kind; then what the checkers say of G1 to G8."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.e2e.live_session import wait_for
from tests.faults import tape, whole_checker
from tests.faults.mischief import Done
from tests.faults.plans import DECODE, READ, Fault, Part, Plan, What
from tests.faults.run import Damage, Outcome, Traffic, through
from tests.faults.services import NAME
from tests.faults.watching import Churn, Look, Watcher, ask, read
from tests.faults.whole_checker import KEYS, Run
from tests.faults.whole_lab import WholeLab, whole_laboratory
from tests.faults.whole_mischief import WholeMischief
from wire import tables

PASSING = {
    "service": NAME,
    "variant": "pair",
    "pin": {DECODE: [1, 2, 3], READ: [1, 2, 3]},
    "replicas": {DECODE: 1, READ: 1},
    "window": 4,
}
PASSING_PAUSE_S = 4.0
EMPTY_S = 30.0  # for the spools, after the last fault
BUSIEST = 2.0
DROPPED = re.compile(r"dropped since the start: (\d+)")  # in a node's log
JUMP = 1_000_000  # of numbers, when an entry is lost


def run_whole(plan: Plan, keep: Path | None = None) -> Outcome:
    """Carry *plan* out; the daemons' logs go to *keep* when that is given."""
    began, outcome = time.monotonic(), Outcome(plan.seed)
    with whole_laboratory(keep) as lab:
        traffic = [Traffic(lab, number, work, plan.seed) for number, work in enumerate(plan.works)]
        mischief = WholeMischief(lab, [one.session.id for one in traffic], [one.url for one in traffic])
        watcher = Watcher([lab.url, *lab.urls()], [one.session.id for one in traffic])
        churn = Churn(lab.url, PASSING, PASSING_PAUSE_S)
        watcher.start()
        churn.start()
        for one in traffic:
            one.start()
        start = time.monotonic()
        outcome.violations += through(mischief, plan, traffic, 0)
        churn.done.set()
        outcome.violations += [fault for one in traffic for fault in one.finish()]
        end = time.monotonic()
        watcher.done.set()
        for number, one in enumerate(traffic):
            looks = watcher.looks[one.session.id]
            outcome.note(number, one.seen(lab, _damage(mischief, one, looks, number)))
            found = _promises(mischief.done, one, looks, start, end)
            outcome.violations += [f"session {number}: {fault}" for fault in found]
        churn.join(60)
        outcome.violations += whole_checker.hostile(told for _, told in mischief.told)
        outcome.violations += _sessions(lab, churn)
        for one in traffic:
            one.session.close()
        outcome.violations += _reports(lab, outcome, [done.fault for done in mischief.done])
        outcome.violations += lab.end()
        outcome.skipped = mischief.skipped
        outcome.figures |= {"sessions made": len(churn.seen.made), "refused": churn.seen.refused, "busy": busy()}
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def busy() -> float:
    """Return by how much everything may be slower than on an idle machine: 1 to BUSIEST, by the load of a minute."""
    return min(BUSIEST, max(1.0, os.getloadavg()[0] / (2 * (os.cpu_count() or 1))))


def _damage(mischief: WholeMischief, one: Traffic, looks: list[Look], number: int) -> Damage:
    """Return what the faults may have done to a session, wherever its entry was."""
    now = ask([one.session.coordinator], f"/sessions/{one.session.id}")
    entries = {look.entry_node for look in [*looks, *([read(now)] if now and "state" in now else [])]}
    faults = [done.fault for done in mischief.done]
    node_killed = any(
        f.part is Part.NODE and f.what in (What.KILL, What.KILL_ONE) and f.node_id in entries for f in faults
    )
    gateway = any(
        f.node_id in entries and ((f.part, f.what) == (Part.GATEWAY, What.KILL) or f.part is Part.SHM) for f in faults
    )
    jumped = any((a.sequence or 0) >= JUMP for a in one.all_answers)
    hurt = sum(f.part in (Part.HANDLER, Part.SHM, Part.NODE) and f.session in (0, number) for f in faults)
    return Damage(
        entry_lost=gateway or node_killed,
        node_lost=node_killed or jumped or len(entries) > 1,
        killed={0: hurt},
        others=sum(told.sent for session, told in mischief.told if session == number),
    )


def _promises(faults: list[Done], one: Traffic, looks: list[Look], start: float, end: float) -> Iterator[str]:
    """Yield what is wrong with a session by G6, G7, G8."""
    results = [result for listener in one.listeners for result in listener.results]
    epochs = {r["sequence"]: r["epoch"] for r in results}
    run = Run(one.all_answers, epochs, looks, faults, start, end, busy())
    yield from whole_checker.fencing(run)
    yield from whole_checker.placements(results, one.work.replicas)
    yield from whole_checker.recovery(run)
    yield from whole_checker.isolation(run)


def _sessions(lab: WholeLab, churn: Churn) -> Iterator[str]:
    """Yield what is wrong with sessions that were made and deleted meanwhile (G5)."""
    states: dict[int, str | None] = {}
    for session_id in churn.seen.made:
        document = ask([lab.url, *lab.urls()], f"/sessions/{session_id}")
        states[session_id] = document.get("state") if document is not None else "unknown"
    yield from whole_checker.sessions(churn.seen, states)
    churn.clean()


def _reports(lab: WholeLab, outcome: Outcome, faults: list[Fault]) -> Iterator[str]:
    """Stop the nodes, then compare what the collector acknowledged with the tables (G5), and the spools (G8)."""
    try:
        wait_for(lambda: len(_waiting(lab)) < 3, "the spools to be empty", lambda: _waiting(lab), EMPTY_S)
    except AssertionError as error:
        yield f"G8: {error}"
    yield from lab.stop_nodes()
    acknowledged = [r for n in lab.node_ids for r in tape.acknowledged(lab.doors[Part.REPORT, n].tape or ())]
    noted, rows = _tables(lab)
    outcome.figures |= {"reports acknowledged": len(acknowledged), "reports noted": len(noted)}
    yield from whole_checker.reports(acknowledged, noted, rows)
    yield from whole_checker.gaps(noted, len(_waiting(lab)), {n: _lost(lab, n) for n in lab.node_ids}, faults)


def _waiting(lab: WholeLab) -> list[str]:
    return [str(path) for path in (lab.folder / "spool").glob("*/*.json")]


def _lost(lab: WholeLab, node_id: int) -> int:
    """Return how many reports or rows a node says that it dropped, in all its lives."""
    logs = [log.read_text() for log in lab.folder.glob(f"node-{node_id}-*.log")]
    return sum(max(map(int, DROPPED.findall(text)), default=0) for text in logs)


def _tables(lab: WholeLab) -> tuple[list[tuple[int, str, int]], dict[str, set[tuple[Any, ...]]]]:
    """Return the reports' identities, and of each table the keys of its rows."""
    rows: dict[str, set[tuple[Any, ...]]] = {}
    engine = lab.engine()
    with engine.connect() as connection:
        c = tables.reports.c
        noted = [(int(n), str(b), int(r)) for n, b, r in connection.execute(select(c.node_id, c.boot_id, c.report_id))]
        for name, columns in KEYS.items():
            table = tables.metadata.tables[name]
            chosen = [table.c[column] for column in ("node_id", *columns)]
            rows[name] = {tuple(row) for row in connection.execute(select(*chosen))}
    engine.dispose()
    return noted, rows
