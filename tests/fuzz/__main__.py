"""The fuzzer's command line: `python3 -m tests.fuzz --seed N --count 1000000 [--live 100000]`; status 1 on a finding.

The bytes of each finding are kept in run/fuzz.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator

from tests.daemons import ROOT
from tests.fuzz import live, offline

RECORDS = ROOT / "run/fuzz"


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=0, help="cases at the parsers")
    parser.add_argument("--live", type=int, default=0, help="cases through sockets of real daemons")
    parser.add_argument("--verbose", action="store_true", help="show what the decoders of pictures complain about")
    options = parser.parse_args()
    wrong: list[str] = []
    if options.count:
        wrong += _offline(options.seed, options.count, verbose=options.verbose)
    if options.live:
        wrong += _live(options.seed, options.live)
    return 1 if wrong else 0


def say(*lines: str) -> None:
    """Print *lines* at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _offline(seed: int, count: int, *, verbose: bool) -> list[str]:
    begun = time.monotonic()
    with contextlib.nullcontext() if verbose else _silence():
        found = offline.run(seed, count)
        files = list(offline.kept(found, RECORDS, seed))
    say(f"seed {seed}: {sum(found.cases.values())} cases at the parsers in {time.monotonic() - begun:.0f} s")
    say("  " + ", ".join(f"{name} {n}" for name, n in found.cases.most_common()))
    slowest = sorted(found.slowest.items(), key=lambda item: -item[1][0])[:5]
    say("  slowest, CPU: " + ", ".join(f"{name} {cpu_s * 1000:.0f} ms ({case})" for name, (cpu_s, case) in slowest))
    say(f"  memory of each process since it was warm, MiB: {found.growth_mb}; findings: {len(found.told)}")
    say(*(f"  {text}" for text in found.told))
    if files:
        say(f"  kept in {RECORDS}: {', '.join(path.name for path in files)}")
    return found.told


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Send what C libraries write to stderr nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _live(seed: int, count: int) -> list[str]:
    begun = time.monotonic()
    seen = live.run(seed, count)
    say(f"seed {seed}: {sum(seen.cases.values())} cases through sockets in {time.monotonic() - begun:.0f} s")
    say("  " + ", ".join(f"{name} {n}" for name, n in seen.cases.most_common()))
    say("  answers: " + ", ".join(f"{status} {n}" for status, n in sorted(seen.statuses.items())))
    say(f"  frames of the witness: {seen.frames}, all right" if not seen.wrong else f"  frames: {seen.frames}")
    grown = ", ".join(f"{name.split()[0]}: {mb} MiB {files} files" for name, (mb, files) in seen.grown.items())
    say(f"  more than when warm: {grown}; findings: {len(seen.wrong)}")
    say(*(f"  {text}" for text in seen.wrong[:50]))
    if seen.wrong:
        RECORDS.mkdir(parents=True, exist_ok=True)
        (RECORDS / f"live-{seed}.log").write_text(seen.log)
    return seen.wrong


if __name__ == "__main__":
    sys.exit(main())
