"""cpsat: constraint programming (OR-Tools CP-SAT): the yardstick. One session, or several at once (jointly()).

The time of a handler on a node is that of the cost model. What handlers of all sessions take from each other's cores
is a step function of the node's load (LEVELS), so the optimum is that of the model up to those steps. The solver
begins with the present placement and with layered_dp's, so it is never worse than these. It is limited in its own
deterministic time: the same question has the same answer.
"""

from collections.abc import Sequence

from coordinator.allocation.base import Decision, Placement, Request, Snapshot, Unplaceable
from coordinator.allocation.cpsat_model import Model
from coordinator.allocation.layered_dp import LayeredDp
from coordinator.allocation.search import Chosen, Search

LIMIT_S = 2.0  # deterministic seconds, about as many of a core


class CpSat:
    """Optimal for one session within the limit, where layered_dp is a path with repairs. Needs the extra `optimize`.

    Latency, cost and energy are minimised; `maximize: throughput` is only ranked. O(exponential), cut off.
    """

    def allocate(self, request: Request, snapshot: Snapshot, current: Placement | None) -> Decision:
        """Place the first variant. Raises Unplaceable, with a reason per node."""
        search = Search(request, request.variants[0], snapshot, current)
        first = LayeredDp().allocate(request, snapshot, current).placement  # refuses what no placement allows
        index = search.nodes.index
        hint = {h: tuple(index[n] for n in first.nodes[h]) for h in search.order}
        best = min([hint, *(jointly([search], [hint], LIMIT_S) or ())], key=search.rank)
        if search.short_mib(best) > 0:
            raise search.refuse(best)
        return search.decision(best, lambda _: "best of all placements looked at")


def jointly(searches: Sequence[Search], hints: Sequence[Chosen], limit_s: float) -> list[Chosen] | None:
    """Return a placement of each session so that the sum of their latencies is least, None when none was found.

    searches: of one snapshot. hints: placements to begin with. Raises Unplaceable without OR-Tools.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise Unplaceable(f"cpsat needs OR-Tools (pip install -r requirements-optimize.txt): {error}", {}) from error
    model = Model(cp_model.CpModel(), searches, hints)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_deterministic_time = limit_s
    status = solver.solve(model.cp)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return model.chosen(solver)
