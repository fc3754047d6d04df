from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.planning import Outcome, Plan

NOTHING = 4
"""The action that does nothing."""


class Frame(NamedTuple):
    """One step of all copies of a level.

    Args:
        screens: uint8 of shape (copies, 64, 64, 3).
        rewards: 0 for copies whose episode ended before, shape (copies,).
        is_ending: Which episodes end in this step, shape (copies,).
    """

    screens: NDArray[np.uint8]
    rewards: NDArray[np.float32]
    is_ending: NDArray[np.bool_]


def replay(levels: Any, sequences: Sequence[Sequence[int]]) -> Iterator[Frame]:
    """Play sequences of actions from the beginning of a level, each in a copy of its own.

    Args:
        levels: Copies of the level, from ``open_level``.
        sequences: One for each copy; the player does nothing after a shorter one.

    Yields:
        A frame a step, until the longest sequence or all episodes are over.
    """
    count, length = len(sequences), max(map(len, sequences))
    actions = np.full((length, count), NOTHING, dtype=np.int32)
    for copy, sequence in enumerate(sequences):
        actions[: len(sequence), copy] = sequence
    levels.reset()
    is_alive = np.ones(count, dtype=np.bool_)
    for now in actions:
        screens, rewards, terminated, truncated, _ = levels.step(now)
        is_ending = is_alive & (terminated | truncated)
        yield Frame(screens, np.where(is_alive, rewards, 0.0), is_ending)
        is_alive &= ~is_ending
        if not is_alive.any():
            return


class ProcgenSimulator:
    """Tries plans on copies of a level, which first repeat what was done in it, since no state can be kept.

    Args:
        levels: As many copies of the level as plans are tried at once.
        done: The actions taken so far.
    """

    def __init__(self, levels: Any, done: Sequence[int]) -> None:
        self._levels, self._done = levels, tuple(done)

    def play(self, plans: Sequence[Plan]) -> list[list[Outcome]]:
        """Play each plan after what was done, as ``tasks.planning.Simulator`` says."""
        outcomes: list[list[Outcome]] = [[] for _ in plans]
        is_alive = np.ones(len(plans), dtype=np.bool_)
        for step, frame in enumerate(replay(self._levels, [self._done + plan for plan in plans])):
            if step < len(self._done):
                continue
            for copy in np.flatnonzero(is_alive):
                reward = float(frame.rewards[copy])
                outcomes[copy].append(Outcome(reward, bool(frame.is_ending[copy]) and reward <= 0.0))
            is_alive &= ~frame.is_ending
        return outcomes
