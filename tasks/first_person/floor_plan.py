from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.first_person.sight import Sight, Thing, Wall

_CLEARANCE, _BODY = 20.0, 18.0
_STEPS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column)


class FloorPlan:
    """Cells of a map that a body can stand in, and the ways between them.

    Args:
        walls: All walls of the map.
        size: Side of a cell; a small one finds its way into narrow corridors.
    """

    def __init__(self, walls: Sequence[Wall], size: float = 32.0) -> None:
        self._size = size
        ends = np.array([(wall.x1, wall.y1, wall.x2, wall.y2) for wall in walls])
        self._ends = ends
        self._low = np.minimum(ends[:, :2].min(axis=0), ends[:, 2:].min(axis=0))
        high = np.maximum(ends[:, :2].max(axis=0), ends[:, 2:].max(axis=0))
        columns, rows = np.ceil((high - self._low) / self._size).astype(int)
        self._x = self._low[0] + self._size * (np.arange(columns) + 0.5)
        self._y = self._low[1] + self._size * (np.arange(rows) + 0.5)
        self.is_free = np.ones((rows, columns), dtype=np.bool_)
        for wall in ends:
            self.is_free &= self._distances(*wall) > _CLEARANCE

    def measure(self, x: float, y: float, avoided: Iterable[Thing] = (), *, radius: float = 0.0) -> NDArray[np.float64]:
        """Return how long the way is from a place to each cell; infinite where there is none.

        Args:
            x: Where the ways begin.
            y: Where the ways begin.
            avoided: Things that no way may come close to.
            radius: How close.
        """
        is_free = self.is_free.copy()
        for thing in avoided:
            is_free &= self._distances(thing.x, thing.y, thing.x, thing.y) > radius
        rows, columns = is_free.shape
        lengths = np.full((rows + 2, columns + 2), np.inf)
        inner = lengths[1:-1, 1:-1]
        start = self.cell(x, y)
        is_free[start] = True
        inner[start] = 0.0
        while True:
            best = inner.copy()
            for row, column in _STEPS:
                neighbour = lengths[1 + row : 1 + row + rows, 1 + column : 1 + column + columns]
                np.minimum(best, neighbour + self._size * math.hypot(row, column), out=best)
            best[~is_free] = np.inf
            if np.array_equal(best, inner):
                return best
            inner[:] = best

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return the free cell that is nearest to a place."""
        distances = np.hypot(self._x[None, :] - x, self._y[:, None] - y)
        distances[~self.is_free] += 10.0 * self._size
        row, column = np.unravel_index(int(distances.argmin()), distances.shape)
        return int(row), int(column)

    def point_ahead(self, lengths: NDArray[np.float64], sight: Sight) -> tuple[float, float] | None:
        """Return the farthest point on the way down the lengths to which the player can walk straight.

        Args:
            lengths: What ``measure`` returned for the goal.
            sight: Where the player is.

        Returns:
            The point; None at the goal or without a way.
        """
        row, column = self.cell(sight.x, sight.y)
        ahead = None
        while lengths[row, column] > 0.0:
            around = [(row + down, column + right) for down, right in _STEPS]
            around = [cell for cell in around if 0 <= cell[0] < len(self._y) and 0 <= cell[1] < len(self._x)]
            best = min(around, key=lambda cell: lengths[cell] + self._size * math.dist(cell, (row, column)))
            if not lengths[best] < lengths[row, column]:
                return ahead
            row, column = best
            point = float(self._x[column]), float(self._y[row])
            if ahead is not None and not self._is_straight(lengths, (sight.x, sight.y), point):
                return ahead
            ahead = point
        return ahead

    def _is_straight(self, lengths: NDArray[np.float64], start: tuple[float, float], end: tuple[float, float]) -> bool:
        places = np.linspace(start, end, 2 + int(math.dist(start, end) / (self._size / 4.0)))
        columns, rows = ((places - self._low) // self._size).astype(int).T
        if not np.isfinite(lengths[rows, columns]).all():
            return False
        x1, y1, x2, y2 = self._ends.T
        clearances = _distances(places[:, :1], places[:, 1:], x1, y1, x2 - x1, y2 - y1).min(axis=1)
        return bool((clearances >= min(_BODY, clearances[0])).all())

    def _distances(self, x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
        """Return each cell's distance to a segment."""
        return _distances(self._x[None, :], self._y[:, None], x1, y1, x2 - x1, y2 - y1)


def _distances(x: Any, y: Any, x1: Any, y1: Any, dx: Any, dy: Any) -> NDArray[np.float64]:
    """Return how far points are from segments, each given by one end and the way to the other."""
    part = ((x - x1) * dx + (y - y1) * dy) / np.maximum(dx * dx + dy * dy, 1e-9)
    part = np.clip(part, 0.0, 1.0)
    return np.hypot(x - x1 - part * dx, y - y1 - part * dy)
