from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

AS_IS = 0.0
"""The unit of what lies in [-1, 1] anyway, such as cosines; it is clipped there."""

_MANIPULATOR: Mapping[str, tuple[float, ...]] = {
    "arm_pos": (AS_IS,),
    "arm_vel": (3.0,),
    "touch": (2.0,),
    "hand_pos": (AS_IS,),
    "object_pos": (AS_IS,),
    "object_vel": (3.0,),
    "target_pos": (AS_IS,),
    "box_pos": (AS_IS,),
    "box_vel": (3.0,),
}
_HUMANOID: Mapping[str, tuple[float, ...]] = {
    "joint_angles": (1.5,),
    "head_height": (1.0,),
    "extremities": (1.0,),
    "torso_vertical": (AS_IS,),
    "com_velocity": (3.0,),
    "position": (1.5,),
    "velocity": (10.0,),
}

UNITS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "acrobot": {"orientations": (AS_IS,), "velocity": (10.0,)},
    "ball_in_cup": {"position": (0.3,), "velocity": (2.0,)},
    "cartpole": {"position": (1.0, AS_IS), "velocity": (2.0, 10.0)},
    "cheetah": {"position": (1.0,), "velocity": (10.0,)},
    "dog": {
        "joint_angles": (1.0,),
        "joint_velocites": (10.0,),  # as the suite spells it
        "torso_pelvis_height": (AS_IS,),
        "z_projection": (AS_IS,),
        "torso_com_velocity": (3.0,),
        "inertial_sensors": (20.0,),
        "foot_forces": (50.0,),
        "touch_sensors": (50.0,),
        "actuator_state": (AS_IS,),
        "ball_state": (5.0,),
        "target_position": (5.0,),
    },
    "finger": {
        "position": (1.0,),
        "velocity": (10.0,),
        "touch": (2.0,),
        "target_position": (0.15,),
        "dist_to_target": (0.15,),
    },
    "fish": {"joint_angles": (0.5,), "upright": (AS_IS,), "target": (0.3,), "velocity": (3.0,)},
    "hopper": {"position": (1.5,), "velocity": (5.0,), "touch": (3.0,)},
    "humanoid": _HUMANOID,
    "humanoid_CMU": _HUMANOID,
    "lqr": {"position": (0.5,), "velocity": (2.0,), "springs": (AS_IS,)},
    "manipulator": _MANIPULATOR,
    "pendulum": {"orientation": (AS_IS,), "velocity": (5.0,)},
    "point_mass": {"position": (0.2,), "velocity": (0.2,), "pulls": (AS_IS,)},
    "quadruped": {
        "egocentric_state": (3.0,),
        "torso_velocity": (2.0,),
        "torso_upright": (AS_IS,),
        "imu": (15.0,),
        "force_torque": (5.0,),
        "origin": (1.0,),
        "rangefinder": (AS_IS,),
        "ball_state": (5.0,),
        "target_position": (10.0,),
    },
    "reacher": {"position": (2.0,), "to_target": (0.1,), "velocity": (5.0,)},
    "stacker": _MANIPULATOR,
    "swimmer": {"joints": (1.0,), "to_target": (0.5,), "body_velocities": (1.0,)},
    "walker": {"orientations": (AS_IS,), "height": (1.0,), "velocity": (10.0,)},
}
"""For each domain and each key of its observations the units of the numbers, in SI; the last one holds for the rest."""


def squash(values: NDArray[np.float64], units: tuple[float, ...]) -> NDArray[np.float32]:
    """Bring numbers to [-1, 1]: ``tanh(value / unit)``, or clipped where the unit is ``AS_IS``."""
    scale = np.array(units + units[-1:] * (len(values) - len(units)))[: len(values)]
    is_free = scale == AS_IS
    squashed = np.where(is_free, np.clip(values, -1.0, 1.0), np.tanh(values / np.where(is_free, 1.0, scale)))
    return squashed.astype(np.float32)
