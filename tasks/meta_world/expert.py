from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from tasks.meta_world.environment import ManipulationEnvironment
from tasks.task import Action, Observation, unwrap


class ScriptedExpert:
    """Meta-World's script for the environment's task."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, ManipulationEnvironment)
        self._script = ENV_POLICY_MAP[f"{self._environment.name}-v3"]()

    def act(self, observation: Observation) -> Action:
        """Return what the script does in the simulation's state."""
        return np.clip(self._script.get_action(self._environment.state), -1.0, 1.0).astype(np.float32)

    def provenance(self) -> Mapping[str, Any]:
        """Name the script and the package's version."""
        return {"script": type(self._script).__name__, "versions": {"metaworld": version("metaworld")}}
