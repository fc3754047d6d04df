from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

os.environ.setdefault("MUJOCO_GL", "disable")  # else the suite looks for a display when it is imported

from dm_control import suite
from dm_control.suite import quadruped

from tasks.dm_control.units import UNITS, squash

NUM_STEPS = 1000
"""Steps of an episode: the suite's own."""

LQR_FORCE_N = 8.0
"""What 1.0 stands for in the actions of ``lqr``, whose actuators have no limits."""

_Observation = dict[str, NDArray[np.float32]]


class SuiteEnvironment(gymnasium.Env):
    """A task of DeepMind's control suite, seen as numbers.

    Source: Tassa et al., "DeepMind Control Suite", arXiv:1801.00690, and "dm_control: software and tasks for continuous
    control", arXiv:2006.12983.

    Observation:
        ``state``, in [-1, 1]: all that the suite shows, key after key in its own order; cosines and unit vectors as
        they are, all else as ``tanh(value / unit)`` with the units of ``tasks/dm_control/units.py``. Two tasks show
        what the suite hides and the expert needs: ``lqr`` the springs' stiffness, ``(newtons a metre - 20) / 5``, and
        ``point_mass-hard`` the directions in which the two actuators pull.

    Action:
        The suite's, stretched from [-1, 1] to the actuators' ranges; 1.0 is 8 newtons in ``lqr``, which has none.

    Reward:
        The suite's, 0 to 1 a step; in ``lqr`` 1 less a quadratic cost.

    End:
        Truncated after 1000 steps, as in the suite. ``lqr``, which the suite only ends at rest, ends there too.

    Expert:
        A controller or a planner of ``tasks/dm_control/expert.py`` where there is one, else a specialist.

    Licence:
        Apache-2.0 (dm_control).

    Args:
        domain: Such as ``cartpole``.
        name: The task in the domain, such as ``swingup``.
    """

    def __init__(self, domain: str, name: str) -> None:
        self.domain, self.name = domain, name
        self._load(0)
        shape = self._observe(self.suite.reset().observation)["state"].shape
        low, high = self.suite.action_spec().minimum, self.suite.action_spec().maximum
        if domain == "lqr":
            low, high = np.full_like(low, -LQR_FORCE_N), np.full_like(high, LQR_FORCE_N)
        self._middle, self.action_half = (high + low) / 2, (high - low) / 2
        self.observation_space = spaces.Dict({"state": spaces.Box(-1.0, 1.0, shape)})
        self.action_space = spaces.Box(-1.0, 1.0, low.shape)
        self.num_steps = 0
        """Steps that the episode has taken."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin the episode that the seed fixes.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the first state is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        if self.domain == "lqr":
            self._load(seed)  # its springs are drawn when the model is made
        self.suite.task.random.seed(seed)
        self.num_steps = 0
        return self._observe(self.suite.reset().observation), {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Act for one of the suite's control steps."""
        force = self._middle + self.action_half * np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        step = self.suite.step(force)
        self.num_steps += 1
        return self._observe(step.observation), float(step.reward), False, self.num_steps == NUM_STEPS, {}

    def close(self) -> None:
        """Free the simulation."""
        self.suite.close()

    def _load(self, seed: int) -> None:
        self.suite: Any = suite.load(self.domain, self.name, task_kwargs={"random": np.random.RandomState(seed)})
        if self.domain == "lqr":
            self.suite.task._TERMINAL_TOL = 0.0  # an end at rest would take the rewards of the remaining steps
        if self.domain == "quadruped":
            self.suite.physics.__class__ = _QuadrupedPhysics

    def _observe(self, seen: Mapping[str, Any]) -> _Observation:
        parts = {**seen}
        if self.domain == "lqr":
            parts["springs"] = (self.suite.physics.model.jnt_stiffness - 20.0) / 5.0
        if (self.domain, self.name) == ("point_mass", "hard"):
            parts["pulls"] = self.suite.physics.model.wrap_prm[:4]
        units = UNITS[self.domain]
        return {"state": np.concatenate([squash(np.ravel(part), units[key]) for key, part in parts.items()])}


class _QuadrupedPhysics(quadruped.Physics):
    """The quadruped for numpy 2 and without a renderer.

    The suite's own calls ``numpy.in1d``, which is gone, and asks for a renderer whenever it draws a terrain.
    """

    contexts: Any = None

    def _get_sensor_names(self, *sensor_types: Any) -> list[str]:
        model: Any = self.model
        numbers = np.flatnonzero(np.isin(model.sensor_type, sensor_types))
        return [model.id2name(number, "sensor") for number in numbers]
