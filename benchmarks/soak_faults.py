"""Load for long, with a random fault each minute: python3 -m benchmarks.soak_faults [30m] [--seed 1] [--share 0.8]

The fault laboratory's whole system (two coordinators, collector, MariaDB, three nodes) runs two sessions at a share of
what they can do at most, measured first. Sampled: memory, descriptors, threads and processes of all daemons, shared
memory of the nodes, rows of the tables, which are cleaned each minute by the collector's own retention, down to KEPT_S.
Writes benchmarks/soak/faults.csv and, where matplotlib is there, faults.png. Exit status 1 when a figure is not flat,
or a frame got no result.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from statistics import median

import psutil
from sqlalchemy import Engine, func, select

from benchmarks.load import Load
from benchmarks.recovery.traffic import Traffic, traffic
from benchmarks.soak import FOLDER, Driver, plot, write_csv
from benchmarks.suite import seconds
from client.coordinator import Coordinator, Session
from collector.retention import clean
from tests.faults import marks
from tests.faults.services import NAME
from tests.faults.whole_lab import WholeLab, whole_laboratory
from tests.faults.whole_mischief import WholeMischief
from tests.faults.whole_plans import loud, work
from wire.database import DatabaseAway
from wire.messages import SessionRequest
from wire.tables import packet_info, proc_info, reports, sys_info

WATCHED = ("pss_mb", "descriptors", "threads", "processes", "shm_mb", "rows")
TABLES = (packet_info, proc_info, sys_info, reports)
PERIOD_S, MINUTE_S = 5.0, 60.0
KEPT_S = 180.0  # of telemetry
CALIBRATE_S = 15.0
FLAT = 1.1  # daemons that were just killed are young: the figures are not as even as without faults
CONNECTIONS, BATCH = 4, 20


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    seconds: float
    seed: int
    share: float


def soak(wishes: Wishes) -> tuple[list[dict[str, float]], list[Traffic], list[str]]:
    """Return the samples, the traffic of both sessions, and the faults in words."""
    rng, rows = random.Random(wishes.seed), list[dict[str, float]]()
    with whole_laboratory() as lab, ExitStack() as stack:
        made = [stack.enter_context(session(lab, rng, variant)) for variant in ("fan", "chain")]
        rates = [wishes.share * rate for rate in capacity(made)]
        say(f"at {100 * wishes.share:.0f} % of the most: " + ", ".join(f"{rate:.1f} frames/s" for rate in rates))
        flows = [
            stack.enter_context(traffic(lab.url, one.session_id, rate, marks.picture(1)))
            for one, rate in zip(made, rates, strict=True)
        ]
        mischief = WholeMischief(lab, [one.session_id for one in made], [partial(url, one) for one in made])
        engine, start, next_fault = lab.engine(), time.monotonic(), MINUTE_S / 2
        while (at := time.monotonic() - start) < wishes.seconds:
            if at >= next_fault:
                mischief.begin(loud(rng, 0.0))
                next_fault += MINUTE_S
                retain(engine)
            with suppress(psutil.Error, DatabaseAway, OSError):
                rows.append(
                    {"seconds": round(at, 1), "frames": sum(len(f.answers) for f in flows), **sample(lab, engine)}
                )
                say(", ".join(f"{key} {value:g}" for key, value in rows[-1].items()))
            time.sleep(PERIOD_S)
        mischief.join()
        told = [f"{d.fault.what} {d.fault.part} {d.fault.node_id}" for d in mischief.done] + mischief.errors
    return rows, flows, told


@contextmanager
def session(lab: WholeLab, rng: random.Random, variant: str) -> Iterator[Session]:
    """Run a lossless session of the laboratory's service."""
    asked = work(rng, variant, "lossless")
    api = Coordinator(lab.url)
    made = api.create(
        SessionRequest(service=NAME, variant=variant, pin=dict(asked.pin), replicas=asked.replicas, window=16)
    )
    yield made
    Coordinator(lab.url).delete(made.session_id)


def url(made: Session) -> str:
    """Return where its frames were posted at first; hostile posts need no better address."""
    return made.session_url


def capacity(made: list[Session]) -> list[float]:
    """Return what each session does at most while the other does so too, frames/s."""
    drivers = [Driver() for _ in made]
    for driver, one in zip(drivers, made, strict=True):
        driver.drive(Load(one.session_url, marks.picture(1), CONNECTIONS), BATCH)
    time.sleep(CALIBRATE_S)
    rates = [driver.frames / CALIBRATE_S for driver in drivers]
    for driver in drivers:
        driver.stop()
    return rates


def sample(lab: WholeLab, engine: Engine) -> dict[str, float]:
    """Return the watched figures now. Raises psutil.Error when a process ends meanwhile, DatabaseAway."""
    processes = [psutil.Process(pid) for unit in lab.units for pid in lab.pids(unit)]
    shared = [path for node_id in lab.node_ids if (path := lab.shm(node_id)) is not None]
    return {
        "pss_mb": round(sum(p.memory_full_info().pss for p in processes) / 1e6, 1),
        "descriptors": sum(p.num_fds() for p in processes),
        "threads": sum(p.num_threads() for p in processes),
        "processes": len(processes),
        "shm_mb": round(sum(512 * f.stat().st_blocks for folder in shared for f in folder.iterdir()) / 1e6, 2),
        "rows": count(engine),
    }


def count(engine: Engine) -> int:
    """Return the rows of all watched tables."""
    try:
        with engine.connect() as connection:
            return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES)
    except Exception as error:
        raise DatabaseAway(str(error)) from error


def retain(engine: Engine) -> None:
    """Let the collector's retention remove what is older than KEPT_S."""
    with suppress(DatabaseAway):
        for table in TABLES:
            for _ in clean(engine, table, time.time() - KEPT_S):
                pass


def grown(rows: list[dict[str, float]], key: str) -> float:
    """Return the median of the last fifth of the run over that of its second fifth; a fault of seconds is no growth."""
    part = max(1, len(rows) // 5)
    return median(r[key] for r in rows[-part:]) / max(median(r[key] for r in rows[part : 2 * part]), 1e-9)


def say(text: str) -> None:
    """Show progress."""
    print(text, flush=True)


def main() -> int:
    """Run, write, and say whether everything stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("length", nargs="?", type=seconds, default=1800.0, help="of the load (30m)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (1)")
    parser.add_argument("--share", type=float, default=0.8, help="of what the sessions can do at most (0.8)")
    asked = parser.parse_args()
    rows, flows, told = soak(Wishes(asked.length, asked.seed, asked.share))
    FOLDER.mkdir(exist_ok=True)
    write_csv(rows, FOLDER / "faults.csv")
    sent, lost = sum(f.sent for f in flows), sum(f.lost for f in flows)
    try:
        plot(rows, FOLDER / "faults.png", f"{sent} frames, {len(told)} faults, three nodes", WATCHED)
    except ImportError:
        say("no plot: matplotlib is not installed (requirements-dev.txt)")
    say(f"faults: {', '.join(told)}")
    flat = {key: grown(rows, key) for key in WATCHED}
    for key, value in flat.items():
        say(f"{key:12} end over beginning {value:6.3f}  {'pass' if value <= FLAT else 'FAIL'}")
    say(f"{sent} frames sent, {lost} without a result")
    return 0 if lost == 0 and all(value <= FLAT for value in flat.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
