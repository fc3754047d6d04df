from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.knapsack.problem import Problem, bound_value, fill_greedily

NUM_NEXT = 8
"""Items after the present one that are seen."""

_Observation = dict[str, NDArray[np.float32]]


class KnapsackEnvironment(gymnasium.Env):
    """Items come one by one, those with the most value a weight first: each is taken or left.

    Items that no longer fit are passed over, so that every step is a decision.

    Observation:
        ``item``, float32 of shape (8,): the item's weight in what capacity is left; the capacity left and the items
        left that fit, as shares of all; then, in units of the largest value left: by how much taking beats leaving
        when the rest is filled greedily, the same for the upper bounds, and how far the bound lies above the greedy
        filling after taking and after leaving; last, the part of the capacity left that a greedy filling wastes after
        taking. ``next``, float32 of shape (16,): the weights of the next 8 items that fit, in what capacity is left,
        and their values a weight in units of the item's; 1 and -1 where there are fewer. All lie in [-1, 1].

    Action:
        0 leaves the item, 1 takes it.

    Reward:
        The taken value as a share of Dantzig's upper bound of the instance, so the return is at most 1.

    End:
        No item that is left fits.

    Expert:
        A best choice by OR-Tools' dynamic programming; of equally good ones that with early items.

    Licence:
        Apache-2.0 (this project).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        shapes = {"item": (8,), "next": (2 * NUM_NEXT,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin with the instance of the seed."""
        super().reset(seed=seed)
        self.instance = self.problem.draw(int(self.np_random.integers(2**31)) if seed is None else seed)
        self._bound = bound_value(self.instance.values, self.instance.weights, self.instance.capacity)
        self._left, self._value = self.instance.capacity, 0
        self._find_item(0)
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Take or leave the present item."""
        value = int(self.instance.values[self.item]) if action else 0
        self._left -= int(self.instance.weights[self.item]) if action else 0
        self._value += value
        self._find_item(self.item + 1)
        return self._observe(), value / self._bound, len(self._fitting) == 0, False, self._info()

    def _find_item(self, first: int) -> None:
        self._fitting = first + np.flatnonzero(self.instance.weights[first:] <= self._left)
        self.item = int(self._fitting[0]) if len(self._fitting) else len(self.instance)
        """Number of the present item in the instance."""

    def _info(self) -> dict[str, Any]:
        return {"summary": {"value": self._value, "bound": self._bound, "gap": 1 - self._value / self._bound}}

    def _observe(self) -> _Observation:
        seen = np.full(8, -1.0), np.resize([1.0, -1.0], 2 * NUM_NEXT)
        if len(self._fitting):
            self._describe(*seen)
        item, after = (np.clip(part, -1.0, 1.0).astype(np.float32) for part in seen)
        return {"item": item, "next": after}

    def _describe(self, item: NDArray[np.float64], after: NDArray[np.float64]) -> None:
        values, weights = self.instance.values[self._fitting], self.instance.weights[self._fitting]
        value, weight, left = int(values[0]), int(weights[0]), self._left
        others = values[1:], weights[1:]
        greedy_taken, greedy_left = value + fill_greedily(*others, left - weight), fill_greedily(*others, left)
        bound_taken, bound_left = value + bound_value(*others, left - weight), bound_value(*others, left)
        wasted = left - weight - fill_greedily(others[1], others[1], left - weight)
        shares = weight / left, left / self.instance.capacity, len(values) / len(self.instance), wasted / left
        item[[0, 1, 2, 7]] = 2.0 * np.array(shares) - 1.0
        leads = greedy_taken - greedy_left, bound_taken - bound_left
        gaps = bound_taken - greedy_taken, bound_left - greedy_left
        item[3:7] = np.array([*leads, *gaps]) / int(values.max())
        seen = slice(1, 1 + NUM_NEXT)
        count = len(values[seen])
        after[: 2 * count : 2] = 2.0 * weights[seen] / left - 1.0
        after[1 : 2 * count : 2] = 2.0 * values[seen] / weights[seen] * weight / value - 1.0
