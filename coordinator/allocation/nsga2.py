"""nsga2: the genetic algorithm that papers on edge placement compare with (Deb et al., IEEE TEVC 6(2), 2002).

A gene per handler and replica: which of its nodes. Two aims: the latency with what breaks the bounds, and the energy.
Of the last generation and all before, the one that the objective ranks first is taken. By pymoo; evaluations capped.
"""

from typing import Any

import numpy as np

from coordinator.allocation.base import Decision, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.objective import Rank
from coordinator.allocation.search import Chosen, Search

POPULATION, EVALUATIONS = 24, 480
SHORT = 1e6  # ms for each MiB that is missing


class Nsga2:
    """A yardstick: blind search by the cost model. Needs the extra `optimize`. O(evaluations x handlers)."""

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        search = Search(request, request.variants[0], snapshot, current)
        population = _Population(search)
        _evolve(population, request.seed)
        if population.best is None or search.short_mib(population.best[1]) > 0:
            raise search.refuse(population.best[1] if population.best else {})
        return search.decision(population.best[1], lambda _: f"best of {population.seen} placements bred")


class _Population:
    """Genes to placements, and the best placement so far."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self._pools = {h: np.flatnonzero(search.feasible[h]) for h in search.order}
        self._genes = [h for h in search.order for _ in range(search.request.count(h))]
        self.upper = [len(self._pools[h]) - 1 for h in self._genes]
        self.best: tuple[Rank, Chosen] | None = None
        self.seen = 0

    def aims(self, genes: Any) -> tuple[float, float]:
        """Return what is to be small: latency (ms, with penalties) and energy (J)."""
        nodes = self._placement(genes)
        rank = self.search.rank(nodes)
        self.seen += 1
        if self.best is None or rank < self.best[0]:
            self.best = rank, nodes
        outcome = self.search.outcome(nodes)
        return outcome.latency.total * (1 + rank[1]) + SHORT * rank[0], outcome.joules

    def _placement(self, genes: Any) -> Chosen:
        """Return the placement; a replica that falls on a taken node goes to the next."""
        nodes: Chosen = {}
        for handler, gene in zip(self._genes, genes, strict=True):
            pool, places = self._pools[handler], nodes.get(handler, ())
            turn = int(gene)
            while int(pool[turn % len(pool)]) in places:
                turn += 1
            nodes[handler] = (*places, int(pool[turn % len(pool)]))
        return nodes


def _evolve(population: _Population, seed: int) -> None:
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import ElementwiseProblem
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.sampling.rnd import IntegerRandomSampling
        from pymoo.optimize import minimize
    except ImportError as error:
        raise Unplaceable(f"nsga2 needs pymoo (pip install -r requirements-optimize.txt): {error}", {}) from error

    class Problem(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=len(population.upper), n_obj=2, xl=0, xu=np.array(population.upper), vtype=int)

        def _evaluate(self, genes: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = population.aims(genes)

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=False,  # few placements: there may be no others
    )
    minimize(Problem(), algorithm, ("n_eval", EVALUATIONS), seed=seed, verbose=False)
