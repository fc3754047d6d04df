from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.bin_packing.problem import CAPACITY, Problem, bound_bins, find_sums, waste

NUM_ROOMS = 12
"""Different rooms of open bins that an item can be put into."""

_NUM_NEXT = 8
_NUM_CLASSES = 10

_Observation = dict[str, NDArray[np.float32]]


class PackingEnvironment(gymnasium.Env):
    """Items come one by one, the largest first; each is put into an open bin with room for it, or into a new one.

    Bins with equal room are one choice, since nothing distinguishes them from then on.

    Observation:
        All in [-1, 1]; sizes are shares of a bin's capacity. ``item``, shape (4,): the present item's size; the items
        left and the bins opened, by the lower bound on the bins; and what the fullest filling of a new bin wastes.
        ``rooms``, shape (24,): for each of the 12 choices, the smallest first, the room that stays there, and what its
        fullest filling with items left would waste, the latter as ``tanh(waste / 0.02)``; 1 where there is none.
        ``next``, shape (8,): sizes of the next items, -1 where there are none. ``left``, shape (10,): of the items
        left, the share in each tenth of the capacity.

    Action:
        0 opens a bin; ``r`` from 1 to 12 puts the item into a bin with the ``r``-th smallest room that suffices.
        ``info["action_mask"]`` allows the choices that there are.

    Reward:
        Minus the bins opened, as a share of Martello and Toth's lower bound: a return of -1 is optimal.

    End:
        All items are packed.

    Expert:
        OR-Tools' CP-SAT, one worker and a limit of deterministic time; where that does not improve on best fit, best
        fit.

    Licence:
        Apache-2.0 (this project).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        shapes = {"item": (4,), "rooms": (2 * NUM_ROOMS,), "next": (_NUM_NEXT,), "left": (_NUM_CLASSES,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Discrete(1 + NUM_ROOMS)

    @property
    def rooms(self) -> list[int]:
        """The different rooms of open bins that the present item fits into, the smallest first."""
        return sorted({room for room in self._open if room >= self._size})[:NUM_ROOMS]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin with the instance of the seed.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the items are drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.sizes = self.problem.draw(seed)
        self.bound = bound_bins(self.sizes)
        self.item = 0
        """Number of the present item."""
        self._open: list[int] = []
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Pack the present item.

        Raises:
            ValueError: If there is no such choice.
        """
        rooms = self.rooms
        if not 0 <= int(action) <= len(rooms):
            raise ValueError(f"choice {action} of {len(rooms)} rooms; expected one that the mask allows")
        if action == 0:
            self._open.append(CAPACITY - self._size)
        else:
            self._open[self._open.index(rooms[int(action) - 1])] -= self._size
        self.item += 1
        is_over = self.item == len(self.sizes)
        return self._observe(), -1.0 / self.bound if action == 0 else 0.0, is_over, False, self._info()

    @property
    def _size(self) -> int:
        return int(self.sizes[self.item])

    def _info(self) -> dict[str, Any]:
        if self.item == len(self.sizes):
            return {"summary": {"bins": len(self._open), "lower_bound": self.bound}}
        return {"action_mask": np.arange(1 + NUM_ROOMS) <= len(self.rooms)}

    def _observe(self) -> _Observation:
        item, rooms = np.full(4, -1.0), np.ones((NUM_ROOMS, 2))
        after, left = np.full(_NUM_NEXT, -1.0), np.full(_NUM_CLASSES, -1.0)
        if self.item < len(self.sizes):
            later = self.sizes[self.item + 1 :]
            sums = find_sums(later)
            item[:] = (
                2.0 * self._size / CAPACITY - 1.0,
                len(later) / (4.0 * self.bound) - 1.0,
                len(self._open) / self.bound - 1.0,
                _scale_waste(waste(CAPACITY - self._size, sums)),
            )
            for place, room in enumerate(self.rooms):
                stays = room - self._size
                rooms[place] = 2.0 * stays / CAPACITY - 1.0, _scale_waste(waste(stays, sums))
            after[: len(later[:_NUM_NEXT])] = 2.0 * later[:_NUM_NEXT] / CAPACITY - 1.0
            if len(later):
                tenths = np.minimum(later * _NUM_CLASSES // CAPACITY, _NUM_CLASSES - 1)
                left = 2.0 * np.bincount(tenths, minlength=_NUM_CLASSES) / len(later) - 1.0
        seen = {"item": item, "rooms": rooms.reshape(-1), "next": after, "left": left}
        return {key: np.clip(part, -1.0, 1.0).astype(np.float32) for key, part in seen.items()}


def _scale_waste(wasted: int) -> float:
    return 2.0 * float(np.tanh(wasted / CAPACITY / 0.02)) - 1.0
