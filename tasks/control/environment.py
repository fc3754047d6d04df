from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


@dataclass(frozen=True)
class Plant:
    """A control problem of gymnasium and the units of its numbers.

    Args:
        environment_id: Id in gymnasium's registry.
        units: What 1.0 stands for in each number of the observation, in the environment's own units: beyond what the
            expert meets, so that clipping to [-1, 1] costs it nothing, and close to it, so that bins are fine.
        options: Arguments for gymnasium's ``make``.
    """

    environment_id: str
    units: tuple[float, ...]
    options: Mapping[str, Any]


PLANTS: Mapping[str, Plant] = {
    "CartPole": Plant("CartPole-v1", (2.4, 2.0, 0.21, 2.0), {}),
    "MountainCar": Plant("MountainCar-v0", (1.2, 0.07), {}),
    "MountainCarContinuous": Plant("MountainCarContinuous-v0", (1.2, 0.07), {}),
    "Acrobot": Plant("Acrobot-v1", (1.0, 1.0, 1.0, 1.0, 12.57, 28.28), {}),
    "Pendulum": Plant("Pendulum-v1", (1.0, 1.0, 8.0), {}),
    "LunarLander": Plant("LunarLander-v3", (1.0, 1.5, 0.8, 1.2, 0.6, 1.0, 1.0, 1.0), {}),
    "LunarLanderContinuous": Plant("LunarLander-v3", (1.0, 1.5, 0.8, 1.2, 0.6, 1.0, 1.0, 1.0), {"continuous": True}),
}
"""The plants by the name of their task."""


class ControlEnvironment(gymnasium.Wrapper):
    """A control problem whose numbers all lie in [-1, 1].

    Observation:
        ``observation``: the state in the plant's units, clipped to [-1, 1]; float32, shape (numbers,).

    Action:
        As in gymnasium when discrete; otherwise float32 in [-1, 1], stretched to the actuators' range.

    Reward:
        As in gymnasium.

    End:
        As in gymnasium, with its time limit.

    Expert:
        A rule that looks at the present observation alone (``tasks/control/expert.py``).

    Licence:
        MIT (gymnasium).
    """

    def __init__(self, plant: Plant) -> None:
        super().__init__(gymnasium.make(plant.environment_id, **plant.options))
        self._units = np.array(plant.units, dtype=np.float32)
        self.observation_space = spaces.Dict({"observation": spaces.Box(-1.0, 1.0, self._units.shape, np.float32)})
        if isinstance(self.env.action_space, spaces.Box):
            self._actuators: spaces.Box | None = self.env.action_space
            self.action_space = spaces.Box(-1.0, 1.0, self._actuators.shape, np.float32)
        else:
            self._actuators = None
            self.action_space = self.env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Begin an episode; equal seeds begin alike."""
        state, info = self.env.reset(seed=seed, options=options)
        return self._observation(state), info

    def step(self, action: Any) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Apply an action."""
        if self._actuators is not None:
            low, high = self._actuators.low, self._actuators.high
            action = low + (np.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
        state, reward, terminated, truncated, info = self.env.step(action)
        return self._observation(state), float(reward), terminated, truncated, info

    def _observation(self, state: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        return {"observation": np.clip(np.asarray(state, np.float32) / self._units, -1.0, 1.0)}
