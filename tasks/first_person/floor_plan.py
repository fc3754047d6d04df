from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.first_person.sight import Sight, Thing, Wall

_CELL = 32.0
_CLEARANCE = 20.0
_STEPS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column)


class FloorPlan:
    """Cells of a map that a body can stand in, and the ways between them.

    Args:
        walls: All walls of the map.
    """

    def __init__(self, walls: Sequence[Wall]) -> None:
        ends = np.array([(wall.x1, wall.y1, wall.x2, wall.y2) for wall in walls])
        self._low = np.minimum(ends[:, :2].min(axis=0), ends[:, 2:].min(axis=0))
        high = np.maximum(ends[:, :2].max(axis=0), ends[:, 2:].max(axis=0))
        columns, rows = np.ceil((high - self._low) / _CELL).astype(int)
        self._x = self._low[0] + _CELL * (np.arange(columns) + 0.5)
        self._y = self._low[1] + _CELL * (np.arange(rows) + 0.5)
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
                np.minimum(best, neighbour + _CELL * math.hypot(row, column), out=best)
            best[~is_free] = np.inf
            if np.array_equal(best, inner):
                return best
            inner[:] = best

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return the free cell that is nearest to a place."""
        distances = np.hypot(self._x[None, :] - x, self._y[:, None] - y)
        distances[~self.is_free] += 10.0 * _CELL
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
            around = [
                cell for cell in around if all(0 <= k < size for k, size in zip(cell, lengths.shape, strict=True))
            ]
            best = min(around, key=lambda cell: lengths[cell] + _CELL * math.dist(cell, (row, column)))
            if not lengths[best] < lengths[row, column]:
                return ahead
            row, column = best
            point = float(self._x[column]), float(self._y[row])
            if ahead is not None and not self._is_straight(lengths, (sight.x, sight.y), point):
                return ahead
            ahead = point
        return ahead

    def _is_straight(self, lengths: NDArray[np.float64], start: tuple[float, float], end: tuple[float, float]) -> bool:
        count = 2 + int(math.dist(start, end) / (_CELL / 4))
        places = np.linspace(start, end, count)
        columns, rows = ((places - self._low) // _CELL).astype(int).T
        return bool(np.isfinite(lengths[rows, columns]).all())

    def _distances(self, x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
        """Return each cell's distance to a segment."""
        x, y = self._x[None, :] - x1, self._y[:, None] - y1
        dx, dy = x2 - x1, y2 - y1
        part = np.clip((x * dx + y * dy) / (dx * dx + dy * dy or 1.0), 0.0, 1.0)
        return np.hypot(x - part * dx, y - part * dy)
