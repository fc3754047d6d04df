from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


@dataclass(frozen=True)
class Robot:
    """A MuJoCo task of gymnasium and the units of its numbers.

    Args:
        environment_id: Id in gymnasium's registry.
        centres: What each number of the observation is measured from, in the environment's own units.
        units: How far from its centre a number is when it is seen as tanh(1) = 0.76, in the environment's own units.
        options: Arguments for gymnasium's ``make``.
    """

    environment_id: str
    centres: tuple[float, ...]
    units: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def _without_contacts(*names: str) -> dict[str, bool]:
    return {f"include_{name}_in_observation": False for name in names}


_STAND_IN = _without_contacts("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
_QUATERNION = (0.5, 0.5, 0.5, 0.5)
_ORIGINS_OF_WALKER = (1.25, 0.0, -0.5, -0.5, 0.0, -0.5, -0.5, 0.0, *(0.0,) * 9)

ROBOTS: Mapping[str, Robot] = {
    "Ant": Robot(
        "Ant-v5",
        (0.6, 1.0, *(0.0,) * 25),
        (0.3, *_QUATERNION, *(0.6,) * 8, *(3.0,) * 6, *(6.0,) * 8),
        _without_contacts("cfrc_ext"),
    ),
    "HalfCheetah": Robot("HalfCheetah-v5", (0.0,) * 17, (0.3, 0.6, *(0.6,) * 6, 5.0, 2.0, 4.0, *(12.0,) * 6)),
    "Hopper": Robot("Hopper-v5", (1.25, *(0.0,) * 10), (0.3, 0.15, 0.6, 0.6, 0.6, 2.0, 2.0, 2.0, 4.0, 5.0, 5.0)),
    "Humanoid": Robot(
        "Humanoid-v5",
        (1.3, 1.0, *(0.0,) * 43),
        (0.3, *_QUATERNION, *(0.6,) * 17, *(2.0,) * 6, *(6.0,) * 17),
        _STAND_IN,
    ),
    "HumanoidStandup": Robot(
        "HumanoidStandup-v5",
        (0.5, *(0.0,) * 44),
        (0.5, *_QUATERNION, *(0.6,) * 17, *(2.0,) * 6, *(6.0,) * 17),
        _STAND_IN,
    ),
    "InvertedPendulum": Robot("InvertedPendulum-v5", (0.0,) * 4, (0.05, 0.02, 0.2, 0.1)),
    "InvertedDoublePendulum": Robot(
        "InvertedDoublePendulum-v5",
        (0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0),
        (0.2, 0.2, 0.2, 0.05, 0.05, 1.0, 1.0, 1.0, 1.0),
    ),
    "Pusher": Robot(
        "Pusher-v5",
        (*(0.0,) * 14, 0.5, -0.1, -0.25, 0.45, -0.1, -0.275, 0.45, -0.05, -0.323),
        (*(0.8,) * 7, *(2.0,) * 7, *(0.2,) * 9),
    ),
    "Reacher": Robot("Reacher-v5", (0.0,) * 10, (1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 5.0, 5.0, 0.1, 0.1)),
    "Swimmer": Robot("Swimmer-v5", (0.0,) * 8, (1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0)),
    "Walker2d": Robot("Walker2d-v5", _ORIGINS_OF_WALKER, (0.3, 0.5, *(0.5,) * 6, 3.0, 2.0, 3.0, *(6.0,) * 6)),
}
"""The robots by the name of their task."""


class MujocoEnvironment(gymnasium.Wrapper):
    """A robot of gymnasium's MuJoCo suite whose numbers all lie in [-1, 1].

    Observation:
        ``observation``: gymnasium's numbers x as tanh((x - centre) / unit), so that the range a controlled robot meets
        is spread out and nothing is cut off; float32, shape (numbers,). Ant and the humanoids are seen by the
        positions and velocities of their joints alone, 27 and 45 numbers, without the 78 and 303 of forces and
        inertias that gymnasium appends by default.

    Action:
        float32 in [-1, 1], stretched to the actuators' range.

    Reward:
        As in gymnasium's version 5 of the task.

    End:
        As in gymnasium, with its time limit.

    Expert:
        The poles are balanced by linear-quadratic regulators, Reacher plans its torques, and Swimmer's linear feedback
        was found by a search; the others' experts are specialists.

    Licence:
        MIT (gymnasium); the simulator is Apache-2.0.
    """

    def __init__(self, robot: Robot) -> None:
        super().__init__(gymnasium.make(robot.environment_id, disable_env_checker=True, **robot.options))
        self._centres, self._units = np.array(robot.centres), np.array(robot.units)
        if self.env.observation_space.shape != self._centres.shape or self._centres.shape != self._units.shape:
            raise ValueError(
                f"{robot.environment_id} observes {self.env.observation_space.shape} numbers, with centres of "
                f"{self._centres.shape} and units of {self._units.shape}; expected equal shapes"
            )
        self.observation_space = spaces.Dict({"observation": spaces.Box(-1.0, 1.0, self._units.shape, np.float32)})
        actuators = self.env.action_space
        if not isinstance(actuators, spaces.Box):
            raise ValueError(f"{robot.environment_id} has the action space {actuators}; expected a Box")
        self._actuators = actuators
        self.action_space = spaces.Box(-1.0, 1.0, actuators.shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Begin an episode; equal seeds begin alike."""
        state, _ = self.env.reset(seed=seed, options=options)
        return self.observe(state), {}

    def step(self, action: Any) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Apply an action."""
        low, high = self._actuators.low, self._actuators.high
        forces = low + (np.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
        state, reward, terminated, truncated, _ = self.env.step(forces)
        return self.observe(state), float(reward), bool(terminated), bool(truncated), {}

    def observe(self, state: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Return what is seen of gymnasium's observation; imported episodes come through here too."""
        return {"observation": np.tanh((state - self._centres) / self._units).astype(np.float32)}

    def scale_action(self, forces: NDArray[Any]) -> NDArray[np.float32]:
        """Return the action in [-1, 1] that stands for gymnasium's."""
        low, high = self._actuators.low, self._actuators.high
        return (2.0 * (np.asarray(forces) - low) / (high - low) - 1.0).astype(np.float32)
