from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.task import Observation, Task, open_environment

VALIDATION_SEED = 900_000
"""First of the seeds on which the best of a training's policies is chosen; training uses those below it."""


class Arena(gymnasium.Wrapper):
    """A task as reinforcement learning wants it: one vector is seen, and every episode begins anew.

    Args:
        task: A task whose observations are vectors of float32 and whose action is continuous.

    Raises:
        ValueError: If it is of another kind.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(open_environment(task))
        space, action_space = self.env.observation_space, self.env.action_space
        parts = [part for part in space.values() if _is_vector(part)] if isinstance(space, spaces.Dict) else []
        if not isinstance(space, spaces.Dict) or len(parts) < len(space) or not isinstance(action_space, spaces.Box):
            raise ValueError(
                f"task {task.id!r} has the observations {space} and the actions {action_space}; a specialist expects "
                "vectors of float32 and continuous actions"
            )
        size = sum(math.prod(part.shape or ()) for part in parts)
        self.observation_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.action_space = action_space
        self._seeds = np.random.default_rng(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; a seed fixes it and, below ``VALIDATION_SEED``, all that follow it without one."""
        if seed is None:
            seed = int(self._seeds.integers(VALIDATION_SEED))
        elif seed < VALIDATION_SEED:
            self._seeds = np.random.default_rng(seed)
        seen, info = self.env.reset(seed=seed, options=options)
        return flatten(seen), info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take an action."""
        seen, reward, terminated, truncated, _ = self.env.step(action)
        return flatten(seen), float(reward), terminated, truncated, {}


def _is_vector(space: spaces.Space) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.float32 and len(space.shape) == 1


def flatten(observation: Observation) -> NDArray[np.float32]:
    """Return the vectors of an observation as one, in the order of their names."""
    return np.concatenate([observation[key] for key in sorted(observation)], dtype=np.float32)
