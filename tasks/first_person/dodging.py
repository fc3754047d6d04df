from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.first_person.scenario import LEFT, RIGHT, TICS_PER_STEP, Action
from tasks.first_person.shooting import FRICTION, THRUST
from tasks.first_person.sight import Sight

_STEPS_AHEAD = 16
_PLACES = 97
_SPEEDS = 15
_TOP_SPEED = THRUST * FRICTION / (1.0 - FRICTION)
_BODY = 16.0
_REACH = _BODY + 6.0
_SAFE = 40.0
_WAYS: tuple[tuple[float, Action], ...] = ((0.0, {}), (1.0, LEFT), (-1.0, RIGHT))


class Dodge:
    """Steps out of the way of what flies: dynamic programming over times, places and speeds along the wall.

    Every place and time has a cost that falls with the distance to the nearest missile there and then; the plan with
    the least sum is begun anew in each step.
    """

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        ys = [end for wall in sight.walls for end in (wall.y1, wall.y2)]
        places = np.linspace(min(ys) + _BODY, max(ys) - _BODY, _PLACES)
        speeds = np.linspace(-_TOP_SPEED, _TOP_SPEED, _SPEEDS)
        danger = _find_danger(sight, places)  # (steps, places)
        future = np.zeros((_PLACES, _SPEEDS))
        for step in reversed(range(1, _STEPS_AHEAD)):
            options = [self._after(future, danger[step], places, speeds, way) for way, _ in _WAYS]
            future = np.min(options, axis=0)
        here = np.array([sight.y]), np.array([sight.vy])
        costs = [float(self._after(future, danger[0], *here, way, grid=(places, speeds))[0, 0]) for way, _ in _WAYS]
        return _WAYS[int(np.argmin(costs))][1]

    def _after(
        self,
        future: NDArray[np.float64],
        danger: NDArray[np.float64],
        y: NDArray[np.float64],
        speed: NDArray[np.float64],
        way: float,
        grid: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> NDArray[np.float64]:
        """Return the cost from the end of a step on, for all places and speeds at its begin."""
        places, speeds = grid or (y, speed)
        y, speed = np.broadcast_arrays(y[:, None], speed[None, :])
        for _ in range(TICS_PER_STEP):
            speed = speed + way * THRUST
            y = y + speed
            speed = speed * FRICTION
        hits_wall = (y < places[0]) | (y > places[-1])
        speed = np.where(hits_wall, 0.0, speed)
        row = np.clip(np.rint((y - places[0]) / (places[1] - places[0])), 0, _PLACES - 1).astype(int)
        column = np.clip(np.rint((speed - speeds[0]) / (speeds[1] - speeds[0])), 0, _SPEEDS - 1).astype(int)
        return danger[row] + future[row, column]


def _find_danger(sight: Sight, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cost of each place at the end of each step to come, shape (steps, places)."""
    centre = (places[0] + places[-1]) / 2.0
    calm = 1e-3 * np.abs(places - centre) / (places[-1] - centre)
    danger = np.tile(calm, (_STEPS_AHEAD, 1))
    for missile in sight.things:
        if not missile.vx:
            continue
        for step in range(_STEPS_AHEAD):
            for tic in range(TICS_PER_STEP):
                tics = step * TICS_PER_STEP + tic + 1
                x, y = missile.x + tics * missile.vx, missile.y + tics * missile.vy
                if abs(x - sight.x) > _REACH + abs(missile.vx):
                    continue
                gap = np.abs(places - y)
                danger[step] += np.where(gap < _REACH + 6.0, 100.0, np.clip(1.0 - (gap - _REACH) / _SAFE, 0.0, 1.0))
    return danger
