from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np

from tasks.atari.environment import AtariEnvironment
from tasks.atari.scripts import SCRIPTS
from tasks.atari.simulator import AtariSimulator, Memories
from tasks.planning import Budget, Plan, Planner
from tasks.task import Action, Observation, unwrap

BUDGET = Budget(rounds=10, width=1, horizon=40, commit=10)
"""At most 40 steps of 4 frames are tried for each that is taken: 160,000 frames an episode, about 12 CPU-seconds."""


class PlannerExpert:
    """Tries plans on copies of the console's state, and takes the first eight steps of the best."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, AtariEnvironment)
        self._planner = Planner(
            self._environment.actions, BUDGET, np.random.default_rng(self._environment.episode_seed)
        )
        self._memories = Memories()
        self._ahead: Plan = ()

    def act(self, observation: Observation) -> Action:
        """Return the next action of the plan, or of a new one."""
        self._memories.add(self._environment.memory)
        if not self._ahead:
            simulator = AtariSimulator(self._environment, self._memories)
            self._ahead = self._planner.choose(simulator)
            simulator.leave()
        action, self._ahead = self._ahead[0], self._ahead[1:]
        return action

    def provenance(self) -> Mapping[str, Any]:
        """Return the planner, its budget and the emulator's version."""
        return {"planner": "rolling horizon", "budget": asdict(BUDGET), "ale-py": version("ale-py")}


class ScriptedExpert:
    """Plays a game by a rule on the console's memory."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not one of this family, or its game has no script.
        """
        self._environment = unwrap(environment, AtariEnvironment)
        game = self._environment.game
        if game not in SCRIPTS:
            raise ValueError(f"no script for the game {game!r}; expected one of {', '.join(SCRIPTS)}")
        self._script = SCRIPTS[game]()

    def act(self, observation: Observation) -> Action:
        """Return the script's action."""
        return self._script(self._environment.memory.astype(np.int64))

    def provenance(self) -> Mapping[str, Any]:
        """Return the script's name and the emulator's version."""
        return {"script": type(self._script).__name__, "ale-py": version("ale-py")}
