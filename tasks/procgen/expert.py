from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np

from tasks.planning import Budget, Plan, Planner
from tasks.procgen.environment import ProcgenEnvironment, open_level
from tasks.procgen.explorer import COPIES, explore
from tasks.procgen.simulator import NOTHING, ProcgenSimulator
from tasks.task import Action, Observation, unwrap

BUDGET = Budget(rounds=1, width=24, horizon=40, commit=10)
"""24 plans a decision, each after the repetition of what was done: up to 350,000 steps an episode, 20 CPU-seconds."""

_ACTIONS = range(10)


class PlannerExpert:
    """Tries plans on copies of the level, and takes the first ten steps of the best."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, ProcgenEnvironment)
        self._levels = open_level(self._environment.game, self._environment.level, BUDGET.width)
        self._planner = Planner(_ACTIONS, BUDGET, np.random.default_rng(self._environment.level))
        self._ahead: Plan = ()

    def act(self, observation: Observation) -> Action:
        """Return the next action of the plan, or of a new one."""
        if not self._ahead:
            self._ahead = self._planner.choose(ProcgenSimulator(self._levels, self._environment.actions))
        action, self._ahead = self._ahead[0], self._ahead[1:]
        return action

    def provenance(self) -> Mapping[str, Any]:
        """Return the planner, its budget and envpool's version."""
        return {"planner": "rolling horizon", "budget": asdict(BUDGET), "envpool": version("envpool")}


class ExplorerExpert:
    """Looks for the way to the level's goal on copies of the level, and goes it."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode, and look for the way.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        inner = unwrap(environment, ProcgenEnvironment)
        levels = open_level(inner.game, inner.level, COPIES)
        try:
            self._way = explore(levels, _ACTIONS, np.random.default_rng(inner.level))
        finally:
            levels.close()
        self._num_taken = 0

    def act(self, observation: Observation) -> Action:
        """Return the next action of the way; nothing is done at its end."""
        self._num_taken += 1
        return self._way[self._num_taken - 1] if self._num_taken <= len(self._way) else NOTHING

    def provenance(self) -> Mapping[str, Any]:
        """Return the method, the length of the way and envpool's version."""
        return {"planner": "Go-Explore", "way_steps": len(self._way), "envpool": version("envpool")}
