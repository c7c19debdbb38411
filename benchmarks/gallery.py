"""What a name costs in a big gallery: `python3 -m benchmarks.gallery [VECTORS] [DIMENSIONS]`, one JSON line out.

Looks for faces near known ones and for strangers, by Nearest and by the definition, with one thread as handlers have.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before numpy: as node/processes/launcher.py does

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from handlers.nearest import Nearest

LOOKS = 200
NOISE = 0.02  # per dimension: another picture of the same person


def timed(look: Callable[[int], object]) -> dict[str, float]:
    """Return p50 and p95 of LOOKS calls, in ms."""
    spent = []
    for turn in range(LOOKS):
        begin = time.perf_counter()
        look(turn)
        spent.append((time.perf_counter() - begin) * 1000)
    return {"p50_ms": round(float(np.median(spent)), 3), "p95_ms": round(float(np.percentile(spent, 95)), 3)}


def main(argv: list[str]) -> int:
    """Measure and print."""
    rows = int(argv[0]) if argv else 10_000
    dim = int(argv[1]) if len(argv) > 1 else 512
    random = np.random.default_rng(1)
    matrix = random.normal(size=(rows, dim))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    known = Nearest(matrix)
    friends = matrix[random.integers(0, rows, LOOKS)] + NOISE * random.normal(size=(LOOKS, dim))
    strangers = random.normal(size=(LOOKS, dim)) / np.sqrt(dim)
    figures = {
        "vectors": rows,
        "dimensions": dim,
        "friend": timed(lambda turn: known.find(friends[turn])),
        "stranger": timed(lambda turn: known.find(strangers[turn])),
        "by_definition": timed(lambda turn: np.linalg.norm(matrix - friends[turn], axis=1).argmin()),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
