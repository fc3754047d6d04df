from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TURN_PROBABILITY = 0.35
_STEPS_PER_SIDE = 3.4
_PATTERNS = (
    ((0, -1), (0, 0), (0, 1)),
    ((-1, 0), (0, 0), (1, 0)),
    ((0, 0), (0, 1), (1, 0)),
    ((0, 0), (0, 1), (1, 0), (1, 1)),
    ((0, 0), (0, 1), (-1, 0)),
)
"""What a step of the walk clears: rows and columns from where it stands."""


def carve_room(size: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Clear floor out of a grid of walls by a random walk that clears a small pattern at each step.

    Args:
        size: Rows and columns, the walls on the rim included.
        generator: Draws the walk.

    Returns:
        Whether each cell is a wall, shape (size, size).

    Source:
        Racaniere et al., "Imagination-augmented agents for deep reinforcement learning", 2017; the probability of a
        turn and 34 steps for 10 x 10 cells are those of gym-sokoban.
    """
    walls = np.ones((size, size), dtype=np.bool_)
    directions = ((-1, 0), (1, 0), (0, -1), (0, 1))
    row, column = generator.integers(1, size - 1, size=2).tolist()
    direction = directions[generator.integers(4)]
    for _ in range(round(_STEPS_PER_SIDE * size)):
        if generator.random() < _TURN_PROBABILITY:
            direction = directions[generator.integers(4)]
        row = min(max(row + direction[0], 1), size - 2)
        column = min(max(column + direction[1], 1), size - 2)
        for down, right in _PATTERNS[generator.integers(len(_PATTERNS))]:
            walls[min(max(row + down, 1), size - 2), min(max(column + right, 1), size - 2)] = False
    return walls
