from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.dm_control.chain import chain_of, step_chain
from tasks.dm_control.environment import SuiteEnvironment
from tasks.dm_control.planning import ACROBOT, plan

_HORIZON_STEPS = 300
_COMMITTED_STEPS = 60
_ROUNDS = 25
_WEIGHTS = np.array([4.6, 0.002, 0.02, 0.001])
_LAST = 20.0
_SWINGS = (3.0, 0.5)


class SwingAndCatch:
    """Plans three seconds ahead, again and again, to the top and to rest there (``acrobot``).

    A plan begins with the rest of the one before and, as long as that one is poor, also with swings that drive the
    elbow the way it turns, which gathers energy. As long as no plan rises, the swing itself is what is done.
    """

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._environment, self._physics = environment, environment.suite.physics
        self._chain = chain_of(self._physics.model)
        self._cost = np.inf
        self._states, self._actions = np.zeros((0, 0)), np.zeros(0)

    def act(self) -> NDArray[np.float64]:
        """Return the torque of the elbow."""
        step = self._environment.num_steps % _COMMITTED_STEPS
        if step == 0:
            self._plan(np.concatenate([self._physics.data.qpos, self._physics.data.qvel]))
        return self._actions[step : step + 1]

    def _plan(self, state: NDArray[np.float64]) -> None:
        tries = []
        if len(self._states):
            tail = _swing(self._chain, self._states[-1], _SWINGS[0], _COMMITTED_STEPS)
            tries.append(np.concatenate([self._actions[_COMMITTED_STEPS:], tail]))
        if self._cost > 0.5 * _HORIZON_STEPS:
            tries += [_swing(self._chain, state, strength, _HORIZON_STEPS) for strength in _SWINGS]
        plans = [plan(self._chain, ACROBOT, _WEIGHTS, _LAST, state, first, _ROUNDS) for first in tries]
        self._cost, self._states, self._actions, _ = min(plans, key=lambda found: found[0])
        if self._cost > _HORIZON_STEPS:  # no plan rises, and the best would rest below: gather energy first
            self._states, self._actions = np.zeros((0, 0)), tries[-len(_SWINGS)]


@njit(cache=True)
def _swing(chain, state, strength, steps):
    actions = np.empty(steps)
    for t in range(steps):
        bend = (state[1] + np.pi) % (2.0 * np.pi) - np.pi
        actions[t] = min(1.0, max(-1.0, strength * state[3] - 0.3 * bend))
        state = step_chain(chain, state, actions[t])
    return actions
