from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from ortools.algorithms.python import knapsack_solver

from tasks.knapsack.environment import KnapsackEnvironment
from tasks.knapsack.problem import Instance
from tasks.task import Action, Observation, unwrap

_SOLVER = "OR-Tools knapsack, dynamic programming"


def choose_items(instance: Instance) -> NDArray[np.bool_]:
    """Choose items of the greatest value that fit; of equally good choices one with early items.

    Values are scaled by more than the sum of a bonus that falls from item to item, so that the bonus decides only
    between choices of equal value.

    Args:
        instance: The items and the capacity.

    Returns:
        Whether each item is chosen, shape (items,).

    Raises:
        RuntimeError: If the solver does not prove its choice to be the best.
    """
    bonus = np.arange(len(instance), 0, -1)
    scaled = instance.values * int(bonus.sum() + 1) + bonus
    solver = knapsack_solver.KnapsackSolver(knapsack_solver.SolverType.KNAPSACK_DYNAMIC_PROGRAMMING_SOLVER, "choice")
    solver.init(scaled.tolist(), [instance.weights.tolist()], [instance.capacity])
    solver.solve()
    if not solver.is_solution_optimal():
        raise RuntimeError(f"{_SOLVER} did not prove its choice among {len(instance)} items; expected an optimal one")
    return np.array([solver.best_solution_contains(item) for item in range(len(instance))])


class OptimalExpert:
    """Takes the items of a best choice, which is made before the first step."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Choose the items of an episode's instance.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, KnapsackEnvironment)
        self._chosen = choose_items(self._environment.instance)

    def act(self, observation: Observation) -> Action:
        """Return whether the present item is in the choice."""
        return int(self._chosen[self._environment.item])

    def provenance(self) -> Mapping[str, Any]:
        """Return the solver, its version and the proven optimum."""
        optimum = int(self._environment.instance.values[self._chosen].sum())
        return {"solver": _SOLVER, "versions": {"ortools": version("ortools")}, "optimum": optimum, "proven": True}


class GreedyExpert:
    """Takes whatever fits, in the order of value a weight."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode; there is nothing to plan."""

    def act(self, observation: Observation) -> Action:
        """Return 1."""
        return 1

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"solver": "greedy by value a weight"}
