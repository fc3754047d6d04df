from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from numpy.typing import NDArray

NUM_STEPS = 200
"""Steps of an episode; Meta-World's own limit is 500, and its scripts are done long before."""

_CENTRE_M = np.array([0.0, 0.6865, 0.3])
_REACH_M = np.array([0.6, 0.45, 0.4])
_NEAR_M = 0.1
_HAND, _GRIPPER, _OBJECT, _TURN = slice(0, 3), slice(3, 4), slice(4, 7), slice(7, 11)
_OTHER, _OTHER_TURN, _GOAL = slice(11, 14), slice(14, 18), slice(36, 39)

_Observation = dict[str, NDArray[np.float32]]


class ManipulationEnvironment(gymnasium.Env):
    """A Sawyer arm with a gripper and one task of Meta-World, whose objects and goal the seed places.

    Source: Yu et al., "Meta-World: a benchmark and evaluation for multi-task and meta reinforcement learning",
    arXiv:1910.10897; the version is v3.

    Observation:
        All in [-1, 1]. ``places``, shape (13,): where hand, object, second object and goal are in the workspace, and
        how far the gripper is open. ``turns``, shape (8,): the objects' quaternions. ``ways``,
        shape (12,): from the hand to the object, to the second object and to the goal, and from the object to the goal,
        each as ``tanh(metres / 0.1)``, which is fine where it matters.

    Action:
        The hand's move and the fingers' effort, float32 of shape (4,) in [-1, 1].

    Reward:
        Meta-World's, 0 to 10 a step.

    End:
        Truncated after 200 steps, also when the task is done before, so that a return counts how soon it was.
        ``info["summary"]`` says whether it ever was.

    Expert:
        Meta-World's scripted policies, which see the 39 numbers of the simulation.

    Licence:
        MIT (Meta-World).

    Args:
        name: The task's name without its version, such as ``reach``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._arm = ALL_V3_ENVIRONMENTS[f"{name}-v3"]()
        self._arm._set_task_called = True  # the task is drawn from the seed, not taken from a list of fixed ones
        self._arm._freeze_rand_vec = False
        self._arm.seeded_rand_vec = True
        self._arm._partially_observable = False
        self._arm.__dict__.pop("sawyer_observation_space", None)  # kept since before, when goals were hidden
        shapes = {"places": (13,), "turns": (8,), "ways": (12,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Box(-1.0, 1.0, (4,))
        self.state: NDArray[np.float64]
        """Meta-World's own observation, shape (39,)."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Place the objects and the goal.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("objects and goal are placed by the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self._arm.seed(seed)
        self.state, _ = self._arm.reset()
        self._num_steps, self._is_done = 0, False
        return self._observe(), {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Move the hand and the fingers."""
        self.state, reward, _, _, info = self._arm.step(np.asarray(action, dtype=np.float32))
        self._num_steps += 1
        self._is_done = self._is_done or bool(info["success"])
        is_over = self._num_steps == NUM_STEPS
        return self._observe(), float(reward), False, is_over, {"summary": {"success": self._is_done}}

    def close(self) -> None:
        """Free the simulation."""
        self._arm.close()

    def _observe(self) -> _Observation:
        state = self.state
        places = [(state[where] - _CENTRE_M) / _REACH_M for where in (_HAND, _OBJECT, _OTHER, _GOAL)]
        ways = [state[where] - state[_HAND] for where in (_OBJECT, _OTHER, _GOAL)]
        seen = {
            "places": np.concatenate([*places, 2.0 * state[_GRIPPER] - 1.0]),
            "turns": np.concatenate([state[_TURN], state[_OTHER_TURN]]),
            "ways": np.tanh(np.concatenate([*ways, state[_GOAL] - state[_OBJECT]]) / _NEAR_M),
        }
        return {key: np.clip(part, -1.0, 1.0).astype(np.float32) for key, part in seen.items()}
