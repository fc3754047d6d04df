from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.atari.environment import AtariEnvironment
from tasks.planning import Outcome, Plan

_SPACING = 4
"""Steps between the states of a plan that are kept, from which plans with the same beginning go on."""


class Memories:
    """Which values each byte of the console's memory has had in an episode.

    Source:
        Lipovetzky, Ramirez and Geffner, "Classical planning with simulators: results on the Atari video games", 2015.
    """

    def __init__(self) -> None:
        self._seen = np.zeros((128, 256), dtype=np.bool_)
        self._bytes = np.arange(128)

    def add(self, memory: NDArray[np.uint8]) -> None:
        """Remember a memory's values."""
        self._seen[self._bytes, memory] = True

    def count_new(self, memory: NDArray[np.uint8]) -> int:
        """Return how many bytes have values that they never had before."""
        return 128 - int(self._seen[self._bytes, memory].sum())


class AtariSimulator:
    """Tries plans on the environment's own console; ``leave`` goes back to where it was.

    Args:
        environment: The environment in its present state.
        memories: What the episode has seen.
    """

    def __init__(self, environment: AtariEnvironment, memories: Memories) -> None:
        self._environment, self._memories = environment, memories
        self._lives = environment.lives
        self._kept: dict[Plan, tuple[Any, tuple[Outcome, ...]]] = {(): (environment.save(), ())}

    def play(self, plans: Sequence[Plan]) -> list[tuple[Outcome, ...]]:
        """Play each plan from where the environment was, as ``tasks.planning.Simulator`` says."""
        return [self._play(plan) for plan in plans]

    def leave(self) -> None:
        """Go back to where the environment was."""
        self._environment.restore(self._kept[()][0])

    def _play(self, plan: Plan) -> tuple[Outcome, ...]:
        known = len(plan)
        while plan[:known] not in self._kept:
            known -= 1
        state, begun = self._kept[plan[:known]]
        outcomes = list(begun)
        if outcomes and outcomes[-1].is_lost:
            return begun
        self._environment.restore(state)
        for step in range(known, len(plan)):
            outcomes.append(self._try(plan[step]))
            if outcomes[-1].is_lost or (step + 1) % _SPACING == 0 or step + 1 == len(plan):
                self._kept[plan[: step + 1]] = self._environment.save(), tuple(outcomes)
            if outcomes[-1].is_lost:
                break
        return tuple(outcomes)

    def _try(self, action: int) -> Outcome:
        reward = self._environment.advance(action)
        is_lost = self._environment.is_over or self._environment.lives < self._lives
        return Outcome(reward, is_lost, self._memories.count_new(self._environment.memory))
