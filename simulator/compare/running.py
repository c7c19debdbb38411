"""Runs in processes of their own, with a progress bar; each result is kept as soon as it is there."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from simulator.compare import plan
from simulator.compare.plan import Job
from simulator.compare.store import Store
from simulator.results import Result
from simulator.run import Run

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # arrays are small: more only disturb

Digests = Mapping[tuple[str, str], str]  # (scenario, algorithm) -> what its results depend on


def run(jobs: Sequence[Job], store: Store, digests: Digests, *, smoke: bool, processes: int) -> None:
    """Make the runs, in about the order given, and keep their results."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # for the processes that are to come
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("runs", total=len(jobs))
        try:
            futures = {pool.submit(_work, job, smoke): job for job in jobs}
            for future in as_completed(futures):
                job = futures[future]
                store.put(job, digests[job.scenario, job.algorithm], future.result())
                bar.update(task, advance=1, description=f"{job.scenario}, {job.algorithm}")
        finally:
            pool.shutdown(cancel_futures=True)


def _work(job: Job, smoke: bool) -> Result:
    return Run(plan.scenario(job.scenario, smoke=smoke), job.algorithm, job.seed).run()
