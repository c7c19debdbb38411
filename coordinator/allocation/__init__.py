"""The algorithms by name, and a user's own by `name = module:Class`."""

from collections.abc import Mapping
from importlib import import_module

from coordinator.allocation.base import Algorithm
from coordinator.allocation.best_fit import BestFit
from coordinator.allocation.cpsat import CpSat
from coordinator.allocation.heft import Heft
from coordinator.allocation.layered_dp import LayeredDp
from coordinator.allocation.least_loaded import LeastLoaded
from coordinator.allocation.nsga2 import Nsga2
from coordinator.allocation.random import RandomNodes
from coordinator.allocation.round_robin import RoundRobin
from coordinator.allocation.static import Static
from coordinator.allocation.throughput import Throughput
from coordinator.allocation.weighted_random import WeightedRandom

ALGORITHMS: dict[str, type[Algorithm]] = {
    "static": Static,
    "random": RandomNodes,
    "weighted_random": WeightedRandom,
    "round_robin": RoundRobin,
    "least_loaded": LeastLoaded,
    "best_fit": BestFit,
    "layered_dp": LayeredDp,
    "throughput": Throughput,
    "heft": Heft,
    "cpsat": CpSat,
    "nsga2": Nsga2,
}


class AlgorithmError(ValueError):
    """A user's algorithm that cannot be used; the message names it."""


def load_algorithms(own: Mapping[str, str]) -> dict[str, Algorithm]:
    """Return the built-in algorithms and the user's *own* (name -> "module:Class"). Raises AlgorithmError."""
    return {name: cls() for name, cls in ALGORITHMS.items()} | {name: _own(name, spec) for name, spec in own.items()}


def _own(name: str, spec: str) -> Algorithm:
    module, _, attribute = spec.partition(":")
    try:
        algorithm: Algorithm = getattr(import_module(module), attribute)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise AlgorithmError(f"algorithm {name} = {spec}: {error}") from error
    if not callable(getattr(algorithm, "allocate", None)):
        raise AlgorithmError(f"algorithm {name} = {spec}: has no allocate()")
    return algorithm
