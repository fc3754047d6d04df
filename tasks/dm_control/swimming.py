from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.dm_control.environment import SuiteEnvironment

_GAITS = {
    "swimmer6": (1.294, 3.516, 1.086, -0.864, 0.024),
    "swimmer15": (1.728, 2.481, 0.704, -2.358, 0.026),
}
"""Amplitude, radians a second, radians a joint, effort of a turn, metres from the target where both grow less."""


class Swimming:
    """A wave that runs along the body, bent towards the target (``swimmer``).

    The numbers of the gait were found by random search on the episodes of seeds 0 to 5.
    """

    def __init__(self, environment: SuiteEnvironment) -> None:
        self._environment, self._physics = environment, environment.suite.physics
        self._gait = _GAITS[environment.name]
        self._joints = np.arange(self._physics.model.nu)

    def act(self) -> NDArray[np.float64]:
        """Return the joints' torques."""
        amplitude, pace, lag, turn, near = self._gait
        across, back = self._physics.nose_to_target()
        share = min(1.0, float(np.hypot(across, back)) / near)
        time = self._environment.num_steps * self._environment.suite.control_timestep()
        wave = amplitude * np.sin(pace * time - lag * self._joints)
        return share * (wave + turn * np.clip(np.arctan2(across, -back), -1.0, 1.0))
