from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tasks.dm_control.acrobot import SwingAndCatch
from tasks.dm_control.environment import SuiteEnvironment
from tasks.dm_control.poles import Pumping, SwingUp
from tasks.dm_control.reaching import Homing, Reaching, Regulation
from tasks.dm_control.swimming import Swimming
from tasks.task import Action, Observation, unwrap


class Controller(Protocol):
    """Acts for one episode on what it knows of the simulation."""

    def act(self) -> NDArray[np.float64]:
        """Return the action, which is clipped to [-1, 1]."""
        ...


CONTROLLERS: Mapping[str, Callable[[SuiteEnvironment], Controller]] = {
    "acrobot": SwingAndCatch,
    "cartpole": SwingUp,
    "lqr": Regulation,
    "pendulum": Pumping,
    "point_mass": Homing,
    "reacher": Reaching,
    "swimmer": Swimming,
}
"""The controller of each domain that has one."""


class ControllerExpert:
    """Acts by the controller of the environment's domain."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        inner = unwrap(environment, SuiteEnvironment)
        self._controller = CONTROLLERS[inner.domain](inner)

    def act(self, observation: Observation) -> Action:
        """Return what the controller does in the simulation's state."""
        return np.clip(self._controller.act(), -1.0, 1.0).astype(np.float32)

    def provenance(self) -> Mapping[str, Any]:
        """Name the controller and the packages' versions."""
        packages = ("dm_control", "mujoco", "numpy", "scipy", "numba")
        return {
            "controller": type(self._controller).__name__,
            "versions": {package: version(package) for package in packages},
        }
