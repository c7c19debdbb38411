"""Seeded chance for tests that do damage: it draws victim and moment. FAULT_SEED=N takes another seed than 1."""

import os
import random
import threading

SEED = "FAULT_SEED"


def seed(what: str) -> int:
    """Return the seed of this run, and print it: pytest shows it when the test fails."""
    number = int(os.environ.get(SEED, "1"))
    print(f"{what}: {SEED}={number}")  # noqa: T201
    return number


def chance(what: str) -> random.Random:
    """Return what draws for the test *what*: the same each time, other than for other tests."""
    return random.Random(f"{seed(what)} {what}")


def moment(draw: random.Random, longest_s: float) -> None:
    """Wait for a drawn time."""
    threading.Event().wait(draw.uniform(0.0, longest_s))
