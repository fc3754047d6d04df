from __future__ import annotations

from functools import cache

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tasks.dm_control.chain import Chain, chain_of, step_chain
from tasks.dm_control.environment import SuiteEnvironment
from tasks.dm_control.planning import BALANCE, plan

_PLAN_STEPS = {"swingup": 300, "swingup_sparse": 300, "two_poles": 400, "three_poles": 600}
_FIRST_TRY = {"swingup": 0, "swingup_sparse": 0, "two_poles": 1, "three_poles": 0}
_LAST = 30.0
_GRAVITY = 9.81
_CATCH_RAD = 0.5


class SwingUp:
    """Swings the poles of a cart up by a planned motion, and keeps them up by a linear regulator (``cartpole``).

    The motion is planned once for the middle of all starts and then again, from there, for the start of each episode.
    """

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._environment, self._physics = environment, environment.suite.physics
        self._chain = chain_of(self._physics.model)
        self._gain = _regulate(self._chain)
        self._states, self._actions, self._feedback = np.zeros((1, 0)), np.zeros(0), np.zeros((0, 0))
        if environment.name in _PLAN_STEPS:
            found = _plan_for(environment.name, self._chain, self._state())
            self._states, self._actions, self._feedback = found

    def act(self) -> NDArray[np.float64]:
        """Return the force on the cart."""
        state, step = self._state(), self._environment.num_steps
        if step < len(self._actions):
            return np.array([self._actions[step] + self._feedback[step] @ (state - self._states[step])])
        poles = len(state) // 2
        state[1:poles] -= 2.0 * np.pi * np.round(state[1:poles] / (2.0 * np.pi))
        return np.array([-self._gain @ state])

    def _state(self) -> NDArray[np.float64]:
        return np.concatenate([self._physics.data.qpos, self._physics.data.qvel])


class Pumping:
    """Pumps energy into a pendulum until it rises, and catches it there (``pendulum``).

    Source:
        Astrom and Furuta, "Swinging up a pendulum by energy control", 2000.
    """

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._physics = environment.suite.physics
        model = self._physics.model
        height = model.body_ipos[1, 2]
        self._weight = model.body_mass[1] * _GRAVITY * height
        self._inertia = model.body_inertia[1, 1] + model.body_mass[1] * height**2

    def act(self) -> NDArray[np.float64]:
        """Return the torque."""
        (angle,), (speed,) = self._physics.data.qpos, self._physics.data.qvel
        angle -= 2.0 * np.pi * np.round(angle / (2.0 * np.pi))
        if abs(angle) < _CATCH_RAD and abs(2.2 * angle + 0.5 * speed) < _CATCH_RAD:
            return np.array([-40.0 * angle - 8.0 * speed])
        missing = self._weight * (1.0 - np.cos(angle)) - 0.5 * self._inertia * speed**2
        return np.array([20.0 * missing * (1.0 if speed >= 0.0 else -1.0)])


_Plan = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _plan_for(name: str, chain: Chain, start: NDArray[np.float64]) -> _Plan:
    enough, rest, nearby = _plan_from_rest(name)
    weights = _weights(name)
    best_cost, best = np.inf, nearby
    for stages in (1, 3, 6, 12, 24):
        cost, found = np.inf, nearby
        for stage in range(1, stages + 1):
            begin = rest + (start - rest) * stage / stages
            first = _follow(chain, *found, begin)
            cost, states, actions, feedback = plan(chain, BALANCE, weights, _LAST, begin, first, 20)
            found = states, actions, feedback
        if cost < best_cost:
            best_cost, best = cost, found
        if best_cost < 1.05 * enough:
            break
    return best


@cache
def _plan_from_rest(name: str) -> tuple[float, NDArray[np.float64], _Plan]:
    environment = SuiteEnvironment("cartpole", name)
    chain = chain_of(environment.suite.physics.model)
    environment.close()
    start = np.zeros(2 * len(chain.damping))
    start[1] = np.pi
    steps = _PLAN_STEPS[name]
    pushes = np.random.RandomState(_FIRST_TRY[name]).uniform(-0.6, 0.6, steps // 20 + 1)
    first = np.repeat(pushes, 20)[:steps]
    cost, states, actions, feedback = plan(chain, BALANCE, _weights(name), _LAST, start, first, 200)
    return cost, start, (states, actions, feedback)


def _weights(name: str) -> NDArray[np.float64]:
    return np.array([1.0 if name == "swingup_sparse" else 0.0])


def _follow(
    chain: Chain,
    states: NDArray[np.float64],
    actions: NDArray[np.float64],
    feedback: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    state, taken = start, np.empty_like(actions)
    for step in range(len(actions)):
        taken[step] = np.clip(actions[step] + feedback[step] @ (state - states[step]), -1.0, 1.0)
        state = step_chain(chain, state, taken[step])
    return taken


def _regulate(chain: Chain) -> NDArray[np.float64]:
    size = 2 * len(chain.damping)
    still, step = np.zeros(size), 1e-6
    matrix = np.column_stack([step_chain(chain, still + step * unit, 0.0) / step for unit in np.eye(size)])
    column = step_chain(chain, still, step)[:, None] / step
    cost = np.diag([1.0] + [5.0] * (size // 2 - 1) + [0.1] * (size // 2))
    value = scipy.linalg.solve_discrete_are(matrix, column, cost, np.eye(1))
    return np.linalg.solve(np.eye(1) + column.T @ value @ column, column.T @ value @ matrix)[0]
