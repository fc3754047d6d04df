from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from mujoco import MjData, mj_resetData, mj_step  # pyright: ignore[reportAttributeAccessIssue]  # a compiled module
from numpy.typing import NDArray

from tasks.mujoco.reach import ReachPlan
from tasks.task import Action, Observation, unwrap

Matrix = NDArray[np.floating[Any]]


class BalancingExpert:
    """Linear-quadratic regulator of poles on a cart, about the upright rest, from the simulator's own dynamics.

    Args:
        costs: Of a squared deviation of each position and velocity from rest, the cart's first.
        effort_cost: Of a squared action.

    Source:
        Anderson and Moore, "Optimal control: linear quadratic methods", 1990.
    """

    def __init__(self, costs: tuple[float, ...], effort_cost: float) -> None:
        self._costs, self._effort_cost = np.diag(costs), np.array([[effort_cost]])
        self._gains: Matrix | None = None

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode."""
        self._robot = unwrap(environment, MujocoEnv)
        if self._gains is None:
            matrices = linearise(self._robot)
            self._gains = solve_regulator(*matrices, self._costs, self._effort_cost)

    def act(self, observation: Observation) -> Action:
        """Return the action for the simulation's state."""
        if self._gains is None:
            raise RuntimeError("act before reset; expected reset(environment) at the beginning of an episode")
        state = np.concatenate([self._robot.data.qpos, self._robot.data.qvel])
        return np.clip(-self._gains @ state, -1.0, 1.0).astype(np.float32)

    def provenance(self) -> Mapping[str, Any]:
        """Return the kind of control and the simulator's version."""
        return {"solver": "linear-quadratic regulator", "versions": {"mujoco": version("mujoco")}}


class ReachingExpert:
    """Plans the torques of the next half second that lead the tip to the goal at least cost, at every step anew."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode: try the plans that end with the elbow on either side."""
        self._robot = unwrap(environment, MujocoEnv)
        data = self._robot.data
        self._goal_m = data.qpos[2:4].copy()
        self._plan = ReachPlan(self._robot.dt)
        self._actions = self._plan.begin(data.qpos[:2], data.qvel[:2], self._goal_m)

    def act(self, observation: Observation) -> Action:
        """Return the first action of the plan, which is made better from where the arm is now."""
        data = self._robot.data
        self._actions = self._plan.improve(self._actions, data.qpos[:2], data.qvel[:2], self._goal_m)
        action, self._actions = self._actions[0], np.vstack([self._actions[1:], np.zeros((1, 2))])
        return action.astype(np.float32)

    def provenance(self) -> Mapping[str, Any]:
        """Return the kind of control and the simulator's version."""
        return {"planner": "Gauss-Newton over the next 25 torques", "versions": {"mujoco": version("mujoco")}}


def linearise(robot: MujocoEnv) -> tuple[Matrix, Matrix]:
    """Return A and B of x' = A x + B a about rest, from differences of one step of the environment.

    Args:
        robot: The simulation; x are its positions and velocities, a are actions in [-1, 1].
    """
    model, data = robot.model, MjData(robot.model)
    num_states, num_actions, small = model.nq + model.nv, model.nu, 1e-5
    if not isinstance(robot.action_space, Box):
        raise ValueError(f"the action space is {robot.action_space}; expected a Box")
    largest = robot.action_space.high

    def advance(point: Matrix) -> Matrix:
        mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = point[: model.nq], point[model.nq : num_states]
        data.ctrl[:] = point[num_states:] * largest
        mj_step(model, data, nstep=robot.frame_skip)
        return np.concatenate([data.qpos, data.qvel])

    nudges = small * np.eye(num_states + num_actions)
    slopes = np.array([(advance(nudge) - advance(-nudge)) / (2 * small) for nudge in nudges]).T
    return slopes[:, :num_states], slopes[:, num_states:]


def solve_regulator(a: Matrix, b: Matrix, costs: Matrix, effort_costs: Matrix) -> Matrix:
    """Return the gains K of the action -K x that minimises the sum of x'Qx + u'Ru for x' = A x + B u.

    Raises:
        ValueError: If the cost to go does not settle, because the system cannot be held at rest.
    """
    to_go = costs
    for _ in range(20_000):
        gains = np.linalg.solve(effort_costs + b.T @ to_go @ b, b.T @ to_go @ a)
        following = costs + a.T @ to_go @ (a - b @ gains)
        if not np.isfinite(following).all():
            break
        if np.abs(following - to_go).max() <= 1e-10 * np.abs(following).max():
            return gains
        to_go = following
    raise ValueError("the regulator's cost to go does not settle; expected a system that can be held at rest")
