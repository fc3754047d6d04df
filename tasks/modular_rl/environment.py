from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from mujoco import MjData, mj_forward, mj_resetData, mj_step  # pyright: ignore[reportAttributeAccessIssue]  # compiled
from numpy.typing import NDArray

from tasks.modular_rl.body import build_body
from tasks.modular_rl.morphologies import MORPHOLOGIES, Morphology

NUM_STEPS = 1000
"""Steps of an episode in which the robot does not fall."""

_SUBSTEPS = 4
_LARGEST_STATE = 100.0
_LARGEST_LEAN_RAD = 1.0
_POSITION_UNITS = (0.3, 0.6)
_JOINT_UNIT_RAD = 0.6

_Observation = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Rules:
    """What a robot is paid and when it has fallen.

    Args:
        control_cost: Taken for each unit of the action's squared length.
        alive: Paid for each step.
        heights: Between which parts of its first height the torso stays; None when a robot never falls.
        velocity_units: Of the torso's speed along and up and of its turning, and of the joints.
        is_loose: Whether joints begin up to 0.1 away from straight, and not 0.005.
    """

    control_cost: float
    alive: float
    heights: tuple[float, float] | None
    velocity_units: tuple[float, float, float, float]
    is_loose: bool = False


_RULES: Mapping[str, _Rules] = {
    "cheetah": _Rules(0.1, 0.0, None, (5.0, 2.0, 4.0, 12.0), is_loose=True),
    "hopper": _Rules(0.001, 1.0, (0.36, np.inf), (2.0, 2.0, 2.0, 5.0)),
    "humanoid": _Rules(0.001, 1.0, (0.29, 1.5), (2.0, 2.0, 3.0, 6.0)),
    "walker": _Rules(0.001, 1.0, (0.64, 1.6), (3.0, 2.0, 3.0, 6.0)),
}


class MorphologyEnvironment(gymnasium.Env):
    """Run forward in the plane with the limbs that there are.

    The bodies are cut from gymnasium's MuJoCo models after the 38 of Huang, Mordatch and Pathak, "One policy to control
    them all: shared modular policies for agent-agnostic control", ICML 2020, arXiv:2007.04976, and differ from the
    paper's own models in lengths and masses. The paper's walkers have ``flipped`` copies, which are others only for a
    policy that passes messages between limbs; here they are mirror images, which walk backwards. The humanoids are
    gymnasium's, bound to the plane, with stiff waists and one hinge at each hip, knee, shoulder and elbow. Left and
    right are the same in the plane, so of the paper's pairs of humanoids only one is here, beside bodies of its kind.

    Observation:
        Numbers x as tanh((x - start) / unit), float32. ``position``: the torso's height (unit 0.3 m) and lean
        (0.6 rad) and each joint's angle (0.6 rad). ``velocity``: the torso's speed along and up, how fast it leans, and
        each joint's speed, in units of the robot's kind.

    Action:
        float32 in [-1, 1], one number a joint, stretched to the motors' range.

    Reward:
        The mean speed along in m/s during the step, less 0.001 (cheetahs: 0.1) times the sum of the squared actions,
        and 1 for being alive (cheetahs: 0).

    End:
        When a robot other than a cheetah leans by 1 rad, or its torso leaves the heights that are the paper's limits
        as parts of its first height (hoppers from 0.36, walkers 0.64 to 1.6, humanoids 0.29 to 1.5); truncated after
        1,000 steps of four simulation steps. ``info["summary"]`` says how far it came.

    Expert:
        Linear feedback found by a search for the bodies in ``gains.csv``, a specialist for each of the others.

    Licence:
        MIT (gymnasium's models); the simulator is Apache-2.0.

    Args:
        morphology: The body, or its name in ``MORPHOLOGIES``.
    """

    def __init__(self, morphology: Morphology | str) -> None:
        if isinstance(morphology, str):
            morphology = MORPHOLOGIES[morphology]
        self._model = build_body(morphology)
        self._data = MjData(self._model)
        self._rules = _RULES[morphology.robot]
        self._step_s = _SUBSTEPS * self._model.opt.timestep
        self._first_height_m = float(self._model.body("torso").pos[2])
        num_joints = self._model.nu
        along, up, turn, joint = self._rules.velocity_units
        self._position_units = np.array([*_POSITION_UNITS, *(_JOINT_UNIT_RAD,) * num_joints])
        self._velocity_units = np.array([along, up, turn, *(joint,) * num_joints])
        shapes = {"position": (num_joints + 2,), "velocity": (num_joints + 3,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Box(-1.0, 1.0, (num_joints,))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Stand still but for a little noise.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the first pose is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        mj_resetData(self._model, self._data)
        reach = 0.1 if self._rules.is_loose else 0.005
        self._data.qpos[:] += self.np_random.uniform(-reach, reach, self._model.nq)
        if self._rules.is_loose:
            self._data.qvel[:] = 0.1 * self.np_random.standard_normal(self._model.nv)
        else:
            self._data.qvel[:] = self.np_random.uniform(-reach, reach, self._model.nv)
        mj_forward(self._model, self._data)
        self._num_steps, self._start_m = 0, float(self._data.qpos[0])
        return self._observe(), {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Apply the motors' torques."""
        action = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        before_m = float(self._data.qpos[0])
        low, high = self._model.actuator_ctrlrange.T
        self._data.ctrl[:] = low + 0.5 * (action + 1.0) * (high - low)
        mj_step(self._model, self._data, nstep=_SUBSTEPS)
        self._num_steps += 1
        after_m = float(self._data.qpos[0])
        reward = (after_m - before_m) / self._step_s + self._rules.alive
        reward -= self._rules.control_cost * float(np.square(action).sum())
        summary = {"distance_m": after_m - self._start_m}
        return self._observe(), reward, self._has_fallen(), self._num_steps == NUM_STEPS, {"summary": summary}

    def _has_fallen(self) -> bool:
        if self._rules.heights is None:
            return False
        height, lean_rad = self._pose()
        lowest, highest = self._rules.heights
        state = np.concatenate([self._data.qpos[2:], self._data.qvel])
        is_well = (
            lowest < height / self._first_height_m < highest
            and abs(lean_rad) < _LARGEST_LEAN_RAD
            and bool((np.abs(state) < _LARGEST_STATE).all())
        )
        return not is_well

    def _pose(self) -> tuple[float, float]:
        rise_m = float(self._data.qpos[1] - self._model.qpos0[1])
        return self._first_height_m + rise_m, float(self._data.qpos[2])

    def _observe(self) -> _Observation:
        position = (self._data.qpos - self._model.qpos0)[1:]
        seen = {"position": position / self._position_units, "velocity": self._data.qvel / self._velocity_units}
        return {key: np.tanh(part).astype(np.float32) for key, part in seen.items()}
