from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tasks.dm_control.environment import SuiteEnvironment

_WRIST_LIMIT_RAD = np.deg2rad(159.0)
_CONTROL_COST = 0.1


class Reaching:
    """Proportional-derivative control towards the arm's angles that bring the finger to the target (``reacher``).

    Of the two ways to bend the wrist it takes the one that is sooner there.
    """

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._physics = environment.suite.physics
        upper, lower = self._physics.named.model.body_pos[["hand", "finger"], "x"]
        across, along = self._physics.named.model.geom_pos["target", :2]
        cosine = (across**2 + along**2 - upper**2 - lower**2) / (2.0 * upper * lower)
        bend = min(float(np.arccos(np.clip(cosine, -1.0, 1.0))), _WRIST_LIMIT_RAD)
        start = self._physics.data.qpos
        ways = []
        for wrist in (bend, -bend):
            shoulder = np.arctan2(along, across) - np.arctan2(lower * np.sin(wrist), upper + lower * np.cos(wrist))
            shoulder += 2.0 * np.pi * np.round((start[0] - shoulder) / (2.0 * np.pi))
            ways.append(np.array([shoulder, wrist]))
        self._goal = min(ways, key=lambda way: np.max(np.abs(way - start) * (1.6, 1.0)))

    def act(self) -> NDArray[np.float64]:
        """Return the joints' torques."""
        return 10.0 * (self._goal - self._physics.data.qpos) - self._physics.data.qvel


class Homing:
    """Proportional-derivative control of a mass towards the origin, as fast as the actuators pull (``point_mass``)."""

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._physics = environment.suite.physics
        self._unmix = np.linalg.inv(self._physics.model.wrap_prm[:4].reshape(2, 2).T)

    def act(self) -> NDArray[np.float64]:
        """Return the actuators' forces: along the way home, whatever their directions."""
        wanted = self._unmix @ -(100.0 * self._physics.data.qpos + 15.0 * self._physics.data.qvel)
        return wanted / max(1.0, np.abs(wanted).max())


class Regulation:
    """The linear-quadratic regulator of a row of masses and springs (``lqr``), which is optimal."""

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._physics, self._unit = environment.suite.physics, environment.action_half
        model = self._physics.model
        size = model.nv
        mass = np.array([[model.body_mass[1 + max(i, j) :].sum() for j in range(size)] for i in range(size)])
        spring = -np.linalg.solve(mass, np.diag(model.jnt_stiffness))
        push = np.linalg.solve(mass, np.eye(size)[:, : model.nu])
        time = model.opt.timestep
        speed = np.hstack([time * spring, np.eye(size)])
        matrix = np.vstack([np.hstack([np.eye(size), np.zeros((size, size))]) + time * speed, speed])
        column = np.vstack([time**2 * push, time * push])
        cost = np.diag([0.5] * size + [0.0] * size)  # the suite's reward is that of the state after the step
        state, cross = matrix.T @ cost @ matrix, matrix.T @ cost @ column
        action = column.T @ cost @ column + 0.5 * _CONTROL_COST * np.eye(model.nu)
        value = scipy.linalg.solve_discrete_are(matrix, column, state, action, s=cross)
        self._gain = np.linalg.solve(action + column.T @ value @ column, column.T @ value @ matrix + cross.T)

    def act(self) -> NDArray[np.float64]:
        """Return the actuators' forces."""
        return -self._gain @ np.concatenate([self._physics.data.qpos, self._physics.data.qvel]) / self._unit
