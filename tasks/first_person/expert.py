from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Protocol

import gymnasium

from tasks.first_person import scenario
from tasks.first_person.dodging import Dodge
from tasks.first_person.environment import FirstPersonEnvironment
from tasks.first_person.hunting import Hunt
from tasks.first_person.shooting import Lead, Shoot, Storm, Strafe
from tasks.first_person.sight import Sight
from tasks.first_person.walking import Find, Gather
from tasks.task import Action, Observation, unwrap


class Script(Protocol):
    """Knows what to do next in an episode."""

    def act(self, sight: Sight) -> scenario.Action:
        """Return the next action."""
        ...


_SCRIPTS: Mapping[str, Callable[[], Script]] = {
    "dodge": Dodge,
    "find": Find,
    "gather": Gather,
    "hunt": Hunt,
    "lead": Lead,
    "shoot": Shoot,
    "storm": Storm,
    "strafe": lambda: Strafe(4),
    "strafe-rocket": lambda: Strafe(8),
}


class ScriptedExpert:
    """Plays a scenario by the script that it names."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, FirstPersonEnvironment)
        self._script = _SCRIPTS[self._environment.scenario.expert]()

    def act(self, observation: Observation) -> Action:
        """Return what the script does in the engine's state."""
        return self._environment.scenario.actions.index(self._script.act(self._environment.look()))

    def provenance(self) -> Mapping[str, Any]:
        """Name the script and the engine's version."""
        return {"script": self._environment.scenario.expert, "versions": {"vizdoom": version("vizdoom")}}
