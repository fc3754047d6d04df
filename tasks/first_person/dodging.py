from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.first_person.scenario import LEFT, RIGHT, TICS_PER_STEP, Action
from tasks.first_person.shooting import FRICTION, THRUST
from tasks.first_person.sight import Sight

_STEPS_AHEAD = 16
_PLACES, _SPEEDS = 97, 15
_TOP_SPEED = THRUST * FRICTION / (1.0 - FRICTION)
_BODY = 16.0
_REACH = _BODY + 6.0
_CLOSE, _SAFE = 6.0, 40.0
_HIT = 100.0
_CALM = 1e-3
_WAYS: tuple[tuple[float, Action], ...] = ((0.0, {}), (1.0, LEFT), (-1.0, RIGHT))


class Dodge:
    """Steps out of the way of what flies: dynamic programming over times, places and speeds along the wall.

    Every place and time has a cost that falls with the distance to the missiles there and then; the plan with the least
    sum is made anew in each step.
    """

    def __init__(self) -> None:
        self._places: NDArray[np.float64] | None = None
        self._speeds = np.linspace(-_TOP_SPEED, _TOP_SPEED, _SPEEDS)

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        if self._places is None:
            ends = [end for wall in sight.walls for end in (wall.y1, wall.y2)]
            self._places = np.linspace(min(ends) + _BODY, max(ends) - _BODY, _PLACES)
            everywhere = self._places[:, None], self._speeds[None, :]
            self._moves = [self._move(self._places, *everywhere, way) for way, _ in _WAYS]
        danger = _find_danger(sight, self._places)
        future = np.zeros((_PLACES, _SPEEDS))
        for step in reversed(range(1, _STEPS_AHEAD)):
            costs = danger[step][:, None] + future
            future = np.minimum.reduce([costs[move] for move in self._moves])
        here = np.array(sight.y), np.array(sight.vy)
        costs = danger[0][:, None] + future
        options = [float(costs[self._move(self._places, *here, way)]) for way, _ in _WAYS]
        return _WAYS[int(np.argmin(options))][1]

    def _move(
        self, places: NDArray[np.float64], y: NDArray[np.float64], speed: NDArray[np.float64], way: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return in which cell of places and of speeds a step ends."""
        for _ in range(TICS_PER_STEP):
            speed = speed + way * THRUST
            y = y + speed
            speed = speed * FRICTION
        speed = np.where((y < places[0]) | (y > places[-1]), 0.0, speed)
        return _nearest(places, y), _nearest(self._speeds, speed)


def _nearest(grid: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.rint((values - grid[0]) / (grid[1] - grid[0])), 0, len(grid) - 1).astype(np.int64)


def _find_danger(sight: Sight, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cost of each place in each step to come, shape (steps, places); the middle is a little cheaper."""
    half = (places[-1] - places[0]) / 2.0
    calm = _CALM * np.abs(places - places[0] - half) / half
    danger = np.tile(calm, (_STEPS_AHEAD, 1))
    tics = 1.0 + np.arange(_STEPS_AHEAD * TICS_PER_STEP)
    for missile in sight.things:
        if not missile.vx:
            continue
        is_there = np.abs(missile.x + tics * missile.vx - sight.x) <= _REACH + abs(missile.vx)
        gaps = np.abs(places - (missile.y + tics[is_there] * missile.vy)[:, None])
        costs = np.where(gaps < _REACH + _CLOSE, _HIT, np.clip(1.0 - (gaps - _REACH) / _SAFE, 0.0, 1.0))
        np.add.at(danger, (tics[is_there].astype(np.int64) - 1) // TICS_PER_STEP, costs)
    return danger
