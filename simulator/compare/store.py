"""Results on disk, one file per run: what is there from the same code and scenario is not run again."""

from pathlib import Path

import msgspec
from msgspec import Struct

from simulator.compare.plan import Job
from simulator.results import Result


class Kept(Struct, frozen=True):
    """A result, and what it came from."""

    digest: str
    result: Result


class Store:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, job: Job, digest: str) -> Result | None:
        """Return the kept result, None when there is none of this *digest*."""
        try:
            kept = msgspec.json.decode(self._path(job).read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return None
        return kept.result if kept.digest == digest else None

    def put(self, job: Job, digest: str, result: Result) -> None:
        """Keep *result*, without its sessions."""
        file = self._path(job)
        half = file.with_suffix(".tmp")
        half.write_bytes(msgspec.json.encode(Kept(digest, msgspec.structs.replace(result, sessions=[]))))
        half.replace(file)

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.scenario}-{job.algorithm}-{job.seed}.json"
