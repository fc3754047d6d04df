from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_AHEAD = 7
"""Steps that are looked ahead; the last ones without a push."""

_NUM_PUSHES = 4
_MOVES = np.array([(0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)])
_SEQUENCES = np.array(list(itertools.product(range(len(_MOVES)), repeat=_NUM_PUSHES)))
_PUSHES = _MOVES[_SEQUENCES]  # (sequences, pushes, 2)
_SENSITIVITY = 5.0

Path = NDArray[np.float64]
"""Places after each of the next steps, shape (..., NUM_AHEAD, 2)."""


def foresee(world: Any, agent: Any, action: int | None = None) -> Path:
    """Return where an agent will be if it takes an action and then drifts, shape (NUM_AHEAD, 2).

    Args:
        world: The world of mpe2.
        agent: One of its agents.
        action: Its action, ``move + 5 * word``; drifts from the start if None.
    """
    pushes = np.zeros((1, _NUM_PUSHES, 2))
    pushes[0, 0] = _MOVES[(action or 0) % len(_MOVES)]
    return _follow(world, agent, pushes)[0]


def choose_move(world: Any, agent: Any, cost: Callable[[Path], NDArray[np.float64]]) -> int:
    """Return the first of the four moves whose path costs least, by trying all 625 sequences.

    Collisions are not foreseen: what is in the way must be part of the cost.

    Args:
        world: The world of mpe2.
        agent: Who moves.
        cost: Of paths, shape (paths, NUM_AHEAD, 2), a number each.
    """
    if not agent.movable:
        return 0
    return int(_SEQUENCES[int(np.argmin(cost(_follow(world, agent, _PUSHES)))), 0])


def _follow(world: Any, agent: Any, pushes: NDArray[np.float64]) -> Path:
    gain = (_SENSITIVITY if agent.accel is None else agent.accel) / agent.mass * world.dt
    place = np.broadcast_to(agent.state.p_pos, (len(pushes), 2))
    speed = np.broadcast_to(agent.state.p_vel, (len(pushes), 2))
    places = []
    for step in range(NUM_AHEAD):
        place = place + speed * world.dt
        speed = speed * (1.0 - world.damping)
        if step < _NUM_PUSHES:
            speed = speed + gain * pushes[:, step]
        if agent.max_speed is not None:
            length = np.linalg.norm(speed, axis=1, keepdims=True)
            speed = speed * np.minimum(1.0, agent.max_speed / np.maximum(length, 1e-9))
        places.append(place)
    return np.stack(places, axis=1)
