from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from tasks.bin_packing.environment import PackingEnvironment
from tasks.bin_packing.problem import CAPACITY, bound_bins, pack_best_fit
from tasks.task import Action, Observation

_DETERMINISTIC_TIME = 1.0


def pack_optimally(sizes: NDArray[np.int64]) -> tuple[list[list[int]], bool]:
    """Pack items into as few bins as the solver finds.

    Best fit's packing is kept when the lower bound proves it, or when the solver finds none with fewer bins: it is
    asked for one bin less until there is none.

    Args:
        sizes: Sizes of the items, the largest first, shape (items,).

    Returns:
        The items' numbers bin by bin, and whether no packing has fewer bins.
    """
    bins, bound = pack_best_fit(sizes), bound_bins(sizes)
    while len(bins) > bound:
        fewer, is_settled = _pack_into(sizes, len(bins) - 1)
        if fewer is None:
            return bins, is_settled
        bins = fewer
    return bins, True


def _pack_into(sizes: NDArray[np.int64], num_bins: int) -> tuple[list[list[int]] | None, bool]:
    model = cp_model.CpModel()
    chosen = [[model.new_bool_var("") for _ in range(num_bins)] for _ in sizes]
    for item, row in enumerate(chosen):
        model.add_exactly_one(row)
        for place in range(item + 1, num_bins):  # the first items open the first bins, in their order
            model.add(row[place] == 0)
    for place in range(num_bins):
        model.add(sum(int(size) * row[place] for size, row in zip(sizes, chosen, strict=True)) <= CAPACITY)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = _DETERMINISTIC_TIME
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, status == cp_model.INFEASIBLE
    packed: list[list[int]] = [[] for _ in range(num_bins)]
    for item, row in enumerate(chosen):
        packed[next(place for place, variable in enumerate(row) if solver.value(variable))].append(item)
    return [items for items in packed if items], True


class SolverExpert:
    """Follows a packing that is made before the first step."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Pack an episode's items.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = _packing_of(environment)
        self._bins, self._is_proven = pack_optimally(self._environment.sizes)
        self._bin_of = {item: number for number, items in enumerate(self._bins) for item in items}
        self._left = [CAPACITY] * len(self._bins)

    def act(self, observation: Observation) -> Action:
        """Return the choice that has the room of the item's bin."""
        item, number = self._environment.item, self._bin_of[self._environment.item]
        room = self._left[number]
        self._left[number] -= int(self._environment.sizes[item])
        return 0 if room == CAPACITY else 1 + self._environment.rooms.index(room)

    def provenance(self) -> Mapping[str, Any]:
        """Return the solver, its version and whether the packing is proven to be the best."""
        solver = f"OR-Tools CP-SAT, deterministic time {_DETERMINISTIC_TIME:g}"
        found = {"bins": len(self._bins), "lower_bound": self._environment.bound, "proven": self._is_proven}
        return {"solver": solver, "versions": {"ortools": version("ortools")}, **found}


class BestFitExpert:
    """Puts each item into the fullest bin that has room for it (best fit decreasing)."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode."""
        self._environment = _packing_of(environment)

    def act(self, observation: Observation) -> Action:
        """Return the smallest room, or a new bin."""
        return 1 if self._environment.rooms else 0

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"solver": "best fit decreasing"}


def _packing_of(environment: gymnasium.Env) -> PackingEnvironment:
    inner = environment.unwrapped
    if not isinstance(inner, PackingEnvironment):
        raise ValueError(f"an environment of type {type(inner).__name__}; expected PackingEnvironment")
    return inner
