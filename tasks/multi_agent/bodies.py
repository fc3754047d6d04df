from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium_robotics.envs.multiagent_mujoco.coupled_half_cheetah import CoupledHalfCheetahEnv
from gymnasium_robotics.envs.multiagent_mujoco.many_segment_swimmer import gen_asset
from gymnasium_robotics.envs.multiagent_mujoco.obsk import get_parts_and_edges
from numpy.typing import NDArray

from tasks.mujoco.environment import ROBOTS, MujocoEnvironment, Robot
from tasks.multi_agent.factorisations import Factorisation

LONG_SWIMMER_STEPS = 250
"""Joint steps of a long swimmer's episode; gymnasium's limit is 1,000, and the gait is the same throughout."""

_COUPLED = "CoupledHalfCheetah-v0"
_OWN_NUMBERS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "Reacher": ((0, 2, 6), (1, 3, 7)),
    "Pusher": ((0, 1, 2, 7, 8, 9), (3, 10), (4, 5, 6, 11, 12, 13)),
    "CoupledHalfCheetah": ((*range(8), *range(16, 25)), (*range(8, 16), *range(25, 34))),
}


def _make_coupled(**_: Any) -> gymnasium.Env:
    return CoupledHalfCheetahEnv(None)


gymnasium.register(_COUPLED, entry_point=_make_coupled, max_episode_steps=1000)


class BodyGame:
    """A robot of MuJoCo whose joints are shared out among agents.

    Source: Peng et al., "FACMAC: factored multi-agent centralised policy gradients", arXiv:2003.06709; the
    factorisations are those of MaMuJoCo in gymnasium-robotics, the robots those of the family ``mujoco``.

    An agent sees the whole robot, the numbers of its own joints first and all in the units of the family ``mujoco``.
    MaMuJoCo shows an agent only joints nearby by default, and all of them as an option.

    Args:
        factorisation: The robot and who has which joints.
    """

    def __init__(self, factorisation: Factorisation) -> None:
        self.factorisation = factorisation
        self.body = _make_body(factorisation)
        space = self.body.observation_space
        if not isinstance(space, spaces.Dict):
            raise ValueError(f"robot {factorisation.robot!r} observes {space}; expected a Dict")
        self._joints, own = _share_out(factorisation, self.body)
        self.num_agents = len(self._joints)
        total = int(np.prod(space["observation"].shape or ()))
        self._orders = [[*mine, *(number for number in range(total) if number not in mine)] for mine in own]
        self.view_spaces: Mapping[str, spaces.Space] = {"view": spaces.Box(-1.0, 1.0, (total,))}
        self.action_space: spaces.Box = spaces.Box(-1.0, 1.0, (max(map(len, self._joints)),))

    def reset(self, seed: int | None) -> None:
        """Place the robot."""
        self.seen, _ = self.body.reset(seed=seed)

    def view(self, agent: int) -> Mapping[str, NDArray[Any]]:
        """Return the robot's numbers, the agent's own first."""
        return {"view": self.seen["observation"][self._orders[agent]]}

    def num_legal(self, agent: int) -> int:
        """Return 0: the actions are continuous."""
        return 0

    def split(self, torques: NDArray[Any], agent: int) -> NDArray[np.float32]:
        """Return an agent's part of an action of the whole robot, padded with zeros."""
        action = np.zeros(self.action_space.shape, dtype=np.float32)
        joints = self._joints[agent]
        action[: len(joints)] = torques[joints]
        return action

    def play(self, actions: Sequence[Any]) -> tuple[float, bool, bool]:
        """Apply all agents' torques."""
        torques = np.zeros(self.body.action_space.shape or (), dtype=np.float32)
        for joints, action in zip(self._joints, actions, strict=True):
            torques[joints] = action[: len(joints)]
        self.seen, reward, terminated, truncated, _ = self.body.step(torques)
        return reward, terminated, truncated

    def close(self) -> None:
        """Free the simulation."""
        self.body.close()


def _make_body(factorisation: Factorisation) -> MujocoEnvironment:
    name = factorisation.robot
    if name == "CoupledHalfCheetah":
        one = ROBOTS["HalfCheetah"].units
        units = (*one[:8], *one[:8], *one[8:], *one[8:], 1.0, 1.0, 1.0, 1.0, 0.5, 2.0)
        return MujocoEnvironment(Robot(_COUPLED, (0.0,) * len(units), units))
    if name == "ManySegmentSwimmer":
        num_joints = factorisation.num_joints
        units = (*(1.0,) * (num_joints + 3), *(2.0,) * (num_joints + 1))
        with TemporaryDirectory() as folder:
            model = Path(folder) / "swimmer.xml"
            gen_asset(num_joints, str(model))
            options = {"xml_file": str(model), "max_episode_steps": LONG_SWIMMER_STEPS}
            return MujocoEnvironment(Robot("Swimmer-v5", (0.0,) * len(units), units, options))
    return MujocoEnvironment(ROBOTS[name])


def _share_out(
    factorisation: Factorisation, body: MujocoEnvironment
) -> tuple[list[list[int]], Sequence[Sequence[int]]]:
    """Return for each agent its actuators, and where its joints' numbers are in the robot's observation."""
    parts: Any = get_parts_and_edges(factorisation.robot, factorisation.partition)[0]
    joints = [[int(node.act_ids) for node in part] for part in parts]
    if factorisation.robot in _OWN_NUMBERS:
        return joints, _OWN_NUMBERS[factorisation.robot]
    structure: Any = body.get_wrapper_attr("observation_structure")
    num_places, num_speeds = int(structure["qpos"]), int(structure["qvel"])
    own = [
        [*(num_places + node.qpos_ids for node in part), *(num_places + num_speeds + node.qvel_ids for node in part)]
        for part in parts
    ]
    return joints, own
