from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

from tasks.task import Observation, unwrap
from tasks.tsp.environment import TourEnvironment
from tasks.tsp.problem import EVALUATION, Instance, Tier
from tasks.tsp.routing import Search, route
from tasks.tsp.solver import CHAIN, SEED, solve_tour, versions
from tasks.tsp.tour import Tour, tour_length, turn_tour

Plan = Callable[[Instance], tuple[Tour, Mapping[str, Any]]]
"""Returns a closed tour of an instance, and JSON values that say how it was found."""


_ALWAYS_PROVEN = 100


def tier_of(instance: Instance, training: Tier | None = None) -> Tier:
    """Return how far an instance's tour is certified: proven for evaluation, and by default for training up to 100."""
    if instance.key[1] == EVALUATION:
        return "proven"
    return training or ("proven" if instance.num_nodes <= _ALWAYS_PROVEN else "certified")


def solver_plan(
    instance: Instance, tier: Tier | None = None, training: Tier | None = None
) -> tuple[Tour, Mapping[str, Any]]:
    """Plan the shortest tour or nearly so, with lower bounds: one proven, one that anyone can check by potentials.

    Args:
        instance: The instance.
        tier: How far to certify; ``tier_of`` the instance when there is none.
        training: How far to certify if the instance is one for training.
    """
    solution = solve_tour(instance.distances, tier or tier_of(instance, training))
    return solution.tour, {
        "solver": CHAIN,
        "versions": versions(),
        "seed": SEED,
        "restarts": solution.restarts,
        "length": solution.length,
        "lower_bound": solution.lower_bound,
        "certified_gap": solution.gap,
        "proven": solution.is_proven,
        "stage": solution.stage,
        "nodes": solution.num_nodes,
        **({"fault": solution.fault} if solution.fault else {}),
        "tree_bound": solution.tree_bound,
        "potentials": solution.potentials.tolist(),
    }


def routing_plan(instance: Instance, search: Search) -> tuple[Tour, Mapping[str, Any]]:
    """Plan a tour with OR-Tools' routing solver alone: Christofides' construction and a local search."""
    tour = route(instance.distances, search)
    return tour, {
        "solver": f"OR-Tools routing (Christofides, {search})",
        "versions": {"ortools": versions()["ortools"]},
        "length": tour_length(instance.distances, tour),
    }


class TourExpert:
    """Walks a tour that is planned before the first step, from the episode's start and in its direction."""

    def __init__(self, plan: Plan = solver_plan) -> None:
        self._plan = plan

    def reset(self, environment: gymnasium.Env) -> None:
        """Plan the tour of an episode's instance.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = inner = unwrap(environment, TourEnvironment)
        tour, self._provenance = self._plan(inner.instance)
        self._tour = turn_tour(tour, inner.variant.start, backwards=inner.variant.backwards)

    def act(self, observation: Observation) -> int:
        """Return the rank of the tour's next node."""
        return self._environment.rank_of(int(self._tour[self._environment.num_visited]))

    def provenance(self) -> Mapping[str, Any]:
        """Return the solver, its versions and seed, the length and, where there are any, its bounds."""
        return self._provenance


class NearestNeighbour:
    """Goes to the nearest unvisited node each time."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode; there is nothing to plan."""

    def act(self, observation: Observation) -> int:
        """Return rank 0."""
        return 0

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"solver": "nearest neighbour"}
