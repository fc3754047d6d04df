from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

_NOTHING, _FIRE, _UP, _RIGHT, _LEFT = 0, 1, 2, 3, 4

Memory = NDArray[np.int64]


class BreakoutScript:
    """Moves the paddle below where a falling ball will land, walls included, and serves."""

    _LEFT_WALL, _RIGHT_WALL, _FLOOR = 57, 200, 186

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def __call__(self, memory: Memory) -> int:
        """Return the next action."""
        x, y, paddle = (int(memory[place]) for place in (99, 101, 72))
        last, self._last = self._last, (x, y)
        if y == 0:
            return _FIRE
        target = float(x)
        if last and last[1] and y > max(last[1], 90):
            ahead = (self._FLOOR - y) / (y - last[1])
            target = reflect(x + (x - last[0]) * ahead, self._LEFT_WALL, self._RIGHT_WALL)
        off = target - paddle - 4
        return _RIGHT if off > 4 else _LEFT if off < -4 else _NOTHING


class FreewayScript:
    """Always walks up: a car only pushes back."""

    def __call__(self, memory: Memory) -> int:
        """Return the next action."""
        return _UP


class PongScript:
    """Keeps the paddle level with where the ball will be two steps ahead."""

    _PADDLE_X = 188

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def __call__(self, memory: Memory) -> int:
        """Return the next action."""
        x, y, paddle = (int(memory[place]) for place in (49, 54, 51))
        last, self._last = self._last, (x, y)
        if x == 0:
            return _FIRE
        target = float(y)
        if last and last[0] and x > last[0]:
            target += (y - last[1]) * min((self._PADDLE_X - x) / (x - last[0]), 2.0)
        off = target - paddle - 6
        return _LEFT if off > 3 else _RIGHT if off < -3 else _NOTHING


SCRIPTS: Mapping[str, Callable[[], Callable[[Memory], int]]] = {
    "breakout": BreakoutScript,
    "freeway": FreewayScript,
    "pong": PongScript,
}
"""Makes a game's script, which turns the console's memory, shape (128,), into an action at each step of an episode.

The addresses are those of Anand et al., "Unsupervised state representation learning in Atari", 2019; the margins were
found by trial.
"""


def reflect(place: float, low: float, high: float) -> float:
    """Fold a place on a line back in between two walls."""
    folded = (place - low) % (2.0 * (high - low))
    return low + min(folded, 2.0 * (high - low) - folded)
