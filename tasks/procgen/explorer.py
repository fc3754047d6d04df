from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.procgen.simulator import replay

COPIES = 32
"""Copies of the level that are explored at once."""

GOAL_REWARD = 10.0
"""Reward of a level's goal, which ends the episode."""

_NUM_STEPS = 200_000
_BURST = 24
_LONGEST = 400
_MEAN_RUN = 4.0
_EVERY = 3
_BLOCK = 4
_SHADES = 8


@dataclass
class _Cell:
    actions: tuple[int, ...]
    num_visits: int = 0


def explore(levels: Any, actions: Sequence[int], generator: np.random.Generator) -> tuple[int, ...]:
    """Look for a level's goal by going back to places seldom visited, and on from there at random.

    A place is a screen in 16 x 16 blocks of 8 shades of grey; of two ways there the shorter is kept.

    Args:
        levels: ``COPIES`` copies of the level, from ``open_level``.
        actions: The actions that are of use.
        generator: Chooses places and actions.

    Returns:
        The first actions found that reach the goal; those with the highest return, if 200,000 steps do not lead there.

    Source:
        Ecoffet, Huizinga, Lehman, Stanley and Clune, "First return, then explore", 2021 (Go-Explore).
    """
    cells = [_Cell(())]
    known: dict[bytes, _Cell] = {}
    best, highest, num_steps = (), 0.0, 0
    while num_steps < _NUM_STEPS:
        weights = 1.0 / np.sqrt([1.0 + cell.num_visits for cell in cells])
        chosen = [cells[place] for place in generator.choice(len(cells), COPIES, p=weights / weights.sum())]
        sequences = [cell.actions + _draw_burst(actions, generator) for cell in chosen]
        begins = np.array([len(cell.actions) for cell in chosen])
        for cell in chosen:
            cell.num_visits += 1
        is_alive, returns = np.ones(COPIES, dtype=np.bool_), np.zeros(COPIES)
        for step, frame in enumerate(replay(levels, sequences), start=1):
            num_steps += COPIES
            is_alive &= step <= begins + _BURST
            returns += np.where(is_alive, frame.rewards, 0.0)
            leader = int(np.argmax(np.where(is_alive, returns, -np.inf)))
            if is_alive[leader] and returns[leader] > highest:
                highest, best = returns[leader], sequences[leader][:step]
            reached = np.flatnonzero(is_alive & frame.is_ending & (frame.rewards >= GOAL_REWARD))
            if len(reached):
                return sequences[reached[0]][:step]
            is_alive &= ~frame.is_ending
            new = np.flatnonzero(is_alive & (step > begins) & ((step - begins) % _EVERY == 0))
            for copy, place in zip(new, _describe(frame.screens[new]), strict=True):
                way = sequences[copy][:step]
                cell = known.get(place)
                if cell is None and step <= _LONGEST:
                    known[place] = cell = _Cell(way)
                    cells.append(cell)
                elif cell is not None and len(way) < len(cell.actions):
                    cell.actions = way
    return best


def _draw_burst(actions: Sequence[int], generator: np.random.Generator) -> tuple[int, ...]:
    burst: list[int] = []
    while len(burst) < _BURST:
        burst += [int(generator.choice(actions))] * int(generator.geometric(1.0 / _MEAN_RUN))
    return tuple(burst[:_BURST])


def _describe(screens: NDArray[np.uint8]) -> list[bytes]:
    count, side = len(screens), screens.shape[1] // _BLOCK
    blocks = screens.reshape(count, side, _BLOCK, side, _BLOCK * 3).mean(axis=(2, 4))
    return [place.tobytes() for place in (blocks * (_SHADES / 256.0)).astype(np.uint8)]
