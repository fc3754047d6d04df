from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
from minigrid.utils.baby_ai_bot import BabyAIBot

from tasks.task import Observation

MAX_SEARCHES = 200
"""Path searches that the bot may do for one action; ten are enough, and none are where its plan goes in circles."""


class BotExpert:
    """Plays the bot that comes with BabyAI: it remembers what it has seen, and plans with a stack of subgoals."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode with a bot that has seen nothing."""
        self._bot = _BoundedBot(environment.unwrapped)

    def act(self, observation: Observation) -> int:
        """Return the bot's next action.

        Raises:
            RuntimeError: If the bot's plan goes in circles or it believes to be done.
        """
        self._bot.searches = 0
        action = self._bot.replan()
        if action is None or action == self._bot.mission.unwrapped.actions.done:
            raise RuntimeError("the bot has nothing left to do, yet the mission is not accomplished")
        return int(action)

    def provenance(self) -> Mapping[str, Any]:
        """Return the bot's name and version."""
        return {"expert": "BabyAIBot", "minigrid": version("minigrid")}


class _BoundedBot(BabyAIBot):
    searches = 0

    def _breadth_first_search(self, *args: Any, **kwargs: Any) -> Any:
        self.searches += 1
        if self.searches > MAX_SEARCHES:
            raise RuntimeError(f"the bot's plan goes in circles: more than {MAX_SEARCHES} searches for one action")
        return super()._breadth_first_search(*args, **kwargs)
