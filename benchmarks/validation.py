"""The simulator against the real system: python3 -m benchmarks.validation [--seconds 60] [--out FILE].

Starts coordinator, collector and two nodes on free ports, has `simulator.validate` record single frames and runs at
30 % and 60 % load (decode on one node, YuNet on the other), and prints how far the simulator is off. About 3 minutes.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import cluster
from benchmarks.common import ROOT
from simulator import validate

PICTURE = ROOT / "samples" / "photos" / "obama_and_biden.jpg"


def main() -> int:
    """Return 0 when all errors are within what is wanted, else 1."""
    parser = argparse.ArgumentParser(prog="benchmarks.validation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=validate.SECONDS, help="for each load (60)")
    parser.add_argument("--out", type=Path, help="file for the recording, as JSON")
    args = parser.parse_args()
    with cluster.running() as running:
        asked = [str(PICTURE), "--coordinator", running.coordinator.url, "--service", cluster.DETECTION]
        out = ["--out", str(args.out)] if args.out else []
        return validate.main([*asked, "--seconds", str(args.seconds), *out])


if __name__ == "__main__":
    sys.exit(main())
