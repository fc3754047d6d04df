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
from tasks.task import Action, Observation, unwrap

_DETERMINISTIC_TIME = 1.0
_NUM_FILLINGS = 3000


def pack_optimally(sizes: NDArray[np.int64]) -> tuple[list[list[int]], bool]:
    """Pack items into as few bins as the solver finds.

    It is asked for as many bins as the lower bound says, then for one more until there is a packing, or best fit's is
    reached. It chooses among all fillings of a bin that waste little enough; where these are too many it assigns each
    item to a bin.

    Args:
        sizes: Sizes of the items, the largest first, shape (items,).

    Returns:
        The items' numbers bin by bin, and whether no packing has fewer bins.
    """
    is_proven, best_fit = True, pack_best_fit(sizes)
    for num_bins in range(bound_bins(sizes), len(best_fit)):
        bins, is_settled = _pack_into(sizes, num_bins)
        if bins is not None:
            return bins, is_proven
        is_proven = is_proven and is_settled
    return best_fit, is_proven


def _pack_into(sizes: NDArray[np.int64], num_bins: int) -> tuple[list[list[int]] | None, bool]:
    """Return a packing into so many bins; or None, and whether there is none."""
    fillings = list_fillings(sizes, num_bins * CAPACITY - int(sizes.sum()), _NUM_FILLINGS)
    model = cp_model.CpModel()
    if fillings is None:
        fillings = [[(item, model.new_bool_var("")) for item in range(len(sizes))] for _ in range(num_bins)]
        for filling in fillings:
            model.add(sum(int(sizes[item]) * is_in for item, is_in in filling) <= CAPACITY)
        for item in range(min(len(sizes), num_bins)):  # the first items open the first bins, in their order
            for filling in fillings[item + 1 :]:
                model.add(filling[item][1] == 0)
    else:
        fillings = [
            [(item, is_used) for item in filling] for filling in fillings for is_used in [model.new_bool_var("")]
        ]
    for number in range(len(sizes)):
        model.add_exactly_one(is_in for filling in fillings for item, is_in in filling if item == number)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = _DETERMINISTIC_TIME
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, status == cp_model.INFEASIBLE
    packed = [[item for item, is_in in filling if solver.value(is_in)] for filling in fillings]
    return [items for items in packed if items], True


def list_fillings(sizes: NDArray[np.int64], slack: int, most: int) -> list[tuple[int, ...]] | None:
    """List the choices of items that fill a bin up to a slack.

    In a packing whose bins leave no more than the slack empty altogether, each bin is one of these.

    Args:
        sizes: Sizes of the items, the largest first, shape (items,).
        slack: What a bin may leave empty.
        most: When there are more, the listing is given up.

    Returns:
        The items' numbers of each choice, or None when there are too many.
    """
    sums_from = [1]
    for size in sizes[::-1]:
        sums_from.append((sums_from[-1] | sums_from[-1] << int(size)) & ((1 << (CAPACITY + 1)) - 1))
    sums_from.reverse()
    found: list[tuple[int, ...]] = []
    begun: list[tuple[tuple[int, ...], int, int]] = [((), 0, CAPACITY)]
    while begun and len(found) <= most:
        chosen, item, room = begun.pop()
        window = ((1 << (min(slack, room) + 1)) - 1) << max(0, room - slack)
        if not sums_from[item] & window:
            continue
        if item == len(sizes):
            found.append(chosen)
            continue
        begun.append((chosen, item + 1, room))
        if sizes[item] <= room:
            begun.append(((*chosen, item), item + 1, room - int(sizes[item])))
    return None if begun else found


class SolverExpert:
    """Follows a packing that is made before the first step."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Pack an episode's items.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, PackingEnvironment)
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
        self._environment = unwrap(environment, PackingEnvironment)

    def act(self, observation: Observation) -> Action:
        """Return the smallest room, or a new bin."""
        return 1 if self._environment.rooms else 0

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"solver": "best fit decreasing"}
