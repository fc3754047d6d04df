from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from tasks.tsp.bound import alpha_candidates, raise_bound
from tasks.tsp.exact.branching import Stage, prove_tour
from tasks.tsp.problem import MAX_NODES, Tier
from tasks.tsp.routing import route
from tasks.tsp.search import improve_tour
from tasks.tsp.tour import Tour, tour_length

CHAIN = (
    "OR-Tools routing (Christofides) > 1-tree ascent > 2-opt and Or-opt, double-bridge kicks, annealed > "
    "branch and cut on OR-Tools' GLOP, bounds recomputed in int64"
)
NUM_CANDIDATES = 6
KICKS = 2000
NODES_PER_RESTART = 40
SEED = 0
LONGEST_TOUR = 2**44
"""Number of nodes times longest distance, above which duals in parts of 1/4096 could overflow int64."""


@dataclass(frozen=True)
class Solution:
    """A short closed tour and a certificate of how short it could be.

    Args:
        tour: Order of the nodes, shape (nodes,), starting at node 0.
        length: Length of the tour in the unit of the distances.
        lower_bound: Length that no tour is below, found by branch and cut; the length itself where that is optimal.
        tree_bound: Length that no tour is below by the potentials alone.
        potentials: Potentials of the nodes, shape (nodes,), from which ``tree_bound`` can be computed anew.
        stage: How far the proof went.
        num_nodes: Nodes of the search tree that were bounded.
        restarts: Restarts of the local search.
        fault: What the linear solver failed with, which ended the proof; empty when it did not.
    """

    tour: Tour
    length: int
    lower_bound: int
    tree_bound: int
    potentials: NDArray[np.int64]
    stage: Stage
    num_nodes: int
    restarts: int
    fault: str = ""

    @property
    def gap(self) -> float:
        """Certified optimality gap: what the length exceeds the bound by, as a share of the bound."""
        return self.length / self.lower_bound - 1 if self.lower_bound > 0 else 0.0

    @property
    def is_proven(self) -> bool:
        """Whether no tour is shorter."""
        return self.lower_bound == self.length


def solve_tour(distances: NDArray[np.int64], tier: Tier = "proven", *, max_nodes: int = MAX_NODES) -> Solution:
    """Find a closed tour that is the shortest or nearly so, and a lower bound; equal inputs, equal outputs.

    OR-Tools constructs a tour, the 1-tree ascent bounds it from below and names the edges worth trying, and a seeded
    local search improves it: 3 restarts at 100 nodes, 5 at 200. That is the tier ``fast``; ``certified`` tightens the
    bound by cutting planes, and ``proven`` goes on with branch and bound until the bound meets the tour or the tree has
    ``max_nodes`` nodes. Solutions of the last 64 distance matrices are kept.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes), at least 3 nodes.
        tier: How far to go.
        max_nodes: Nodes of the search tree of a tour that is to be proven; a count, not a time.

    Raises:
        ValueError: If there are fewer than 3 nodes, the distances are no symmetric matrix of whole numbers >= 0, they
            are so long that a bound could overflow, or there is no such tier.
    """
    check_distances(distances)
    if tier not in get_args(Tier) or max_nodes < 1:
        raise ValueError(
            f"tier {tier!r} with {max_nodes} nodes; expected one of {', '.join(get_args(Tier))}, 1 or more"
        )
    return _solve(distances.tobytes(), len(distances), tier, max_nodes)


def check_distances(distances: NDArray[np.int64]) -> None:
    """Refuse distances that can't be solved exactly.

    Raises:
        ValueError: As ``solve_tour`` does.
    """
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or len(distances) < 3:
        raise ValueError(f"distances of shape {distances.shape}; expected (nodes, nodes) with at least 3 nodes")
    if distances.dtype != np.int64 or (distances < 0).any():
        raise ValueError(f"distances of type {distances.dtype}; expected a symmetric int64 matrix of values >= 0")
    if len(crooked := np.argwhere(distances != distances.T)):
        u, v = crooked[0].tolist()
        raise ValueError(
            f"the distance from node {u} to node {v} is {distances[u, v]} and back {distances[v, u]}; expected a "
            "symmetric matrix"
        )
    if (longest := int(distances.max())) * len(distances) > LONGEST_TOUR:
        raise ValueError(
            f"a distance of {longest} among {len(distances)} nodes; expected at most {LONGEST_TOUR // len(distances)}, "
            "so that sums stay exact in int64; measure in a larger unit"
        )


def versions() -> dict[str, str]:
    """Return the versions of the packages that a tour may depend on."""
    return {name: version(name) for name in ("numba", "numpy", "ortools")}


@lru_cache(maxsize=64)
def _solve(content: bytes, num_nodes: int, tier: Tier, max_nodes: int) -> Solution:
    distances = np.frombuffer(content, dtype=np.int64).reshape(num_nodes, num_nodes)
    potentials, tree_bound = raise_bound(distances)
    candidates = alpha_candidates(distances, potentials, NUM_CANDIDATES)
    effort = {"kicks": KICKS, "restarts": max(3, num_nodes // NODES_PER_RESTART)}
    tour = improve_tour(distances, route(distances, "none"), candidates, **effort, seed=SEED)
    known = {"tree_bound": tree_bound, "potentials": potentials, "restarts": effort["restarts"]}
    if tier == "fast":
        return Solution(tour, tour_length(distances, tour), tree_bound, stage="1-tree", num_nodes=0, **known)
    most = max_nodes if tier == "proven" else 1
    proof = prove_tour(distances, tour, potentials, tree_bound, max_nodes=most, **effort, seed=SEED)
    return Solution(
        proof.tour,
        proof.length,
        proof.lower_bound,
        stage=proof.stage,
        num_nodes=proof.num_nodes,
        fault=proof.fault,
        **known,
    )
