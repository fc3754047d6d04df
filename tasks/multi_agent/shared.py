from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np

from tasks.multi_agent.bodies import BodyGame
from tasks.multi_agent.turns import TurnEnvironment
from tasks.task import Action, Expert, Observation

_WAVES: Mapping[int, tuple[float, float, float, float, float, float]] = {
    4: (1.456, 8.07, 0.008, 0.852, 6.986, 0.318),
    6: (1.301, 3.248, 0.368, 1.085, 4.554, 0.434),
    10: (1.123, 5.409, 0.294, 0.922, 3.255, 0.153),
}
"""By the number of joints: reach of a joint, frequency in 1/s, delay and lead in radians, stiffness, drag."""


class SharedExpert:
    """An expert of the whole robot, whose torques are shared out among the agents.

    Args:
        make_expert: Makes the expert of the robot.
    """

    def __init__(self, make_expert: Callable[[], Expert]) -> None:
        self._expert = make_expert()

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not a shared robot.
        """
        inner = environment.unwrapped
        if not isinstance(inner, TurnEnvironment) or not isinstance(inner.game, BodyGame):
            raise ValueError(f"an environment of type {type(inner).__name__}; expected a TurnEnvironment of a robot")
        self._environment, self._game = inner, inner.game
        self._expert.reset(inner.game.body)

    def act(self, observation: Observation) -> Action:
        """Return the part of the agent whose turn it is; the whole is decided at the first agent's turn."""
        if self._environment.turn == 0:
            self._torques = np.asarray(self._expert.act(self._game.seen), dtype=np.float32)
        return self._game.split(self._torques, self._environment.turn)

    def provenance(self) -> Mapping[str, Any]:
        """Return how the robot's expert acts."""
        return self._expert.provenance()


class WaveExpert:
    """A long swimmer's gait: a wave runs down the body, by feedback from the joints alone and without a clock.

    The first joint follows the phase of its own swing, a little ahead of it, which keeps it swinging; each other joint
    follows the one before it, a fixed part of a period later. The six numbers of each length were found with CMA-ES in
    half a minute, from the return of one episode.
    """

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If no gait is known for as many joints.
        """
        robot: Any = environment.unwrapped
        num_joints = int(robot.model.nu)
        if num_joints not in _WAVES:
            raise ValueError(f"a swimmer of {num_joints} joints; expected one of {', '.join(map(str, _WAVES))}")
        self._data, self._signs, self._wave = robot.data, robot.model.jnt_axis[3:, 2], _WAVES[num_joints]

    def act(self, observation: Observation) -> Action:
        """Return the torques."""
        reach, frequency, delay, lead, stiffness, drag = self._wave
        places, speeds = self._signs * self._data.qpos[3:], self._signs * self._data.qvel[3:]
        first = reach * np.sin(np.arctan2(places[0], speeds[0] / frequency) + lead)
        others = np.cos(delay) * places[:-1] - np.sin(delay) * speeds[:-1] / frequency
        aims = np.append(first, np.clip(others, -reach, reach))
        torques = self._signs * (stiffness * (aims - places) - drag * speeds)
        return np.clip(torques, -1.0, 1.0).astype(np.float32)

    def provenance(self) -> Mapping[str, Any]:
        """Return the gait's numbers."""
        return {"script": "wave", "wave": list(self._wave), "versions": {"mujoco": version("mujoco")}}
