from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium

from tasks.multi_agent import contests, cooperation
from tasks.multi_agent.particles import ParticleGame, Script
from tasks.multi_agent.turns import TurnEnvironment
from tasks.task import Action, Observation

_SCRIPTS: Mapping[tuple[str, str], Script] = {
    ("simple", "all"): cooperation.go,
    ("simple_spread", "all"): cooperation.cover,
    ("simple_line", "all"): cooperation.line_up,
    ("simple_formation", "all"): cooperation.encircle,
    ("collect_treasure", "all"): cooperation.gather,
    ("simple_reference", "all"): cooperation.refer,
    ("simple_speaker_listener", "all"): cooperation.direct,
    ("simple_crypto", "good"): contests.encrypt,
    ("simple_crypto", "adversaries"): contests.guess,
    ("simple_tag", "good"): contests.flee,
    ("simple_tag", "adversaries"): contests.chase,
    ("simple_world_comm", "good"): contests.flee,
    ("simple_world_comm", "adversaries"): contests.chase,
    ("simple_adversary", "good"): contests.hide,
    ("simple_adversary", "adversaries"): contests.spy,
    ("simple_push", "good"): contests.push_in,
    ("simple_push", "adversaries"): contests.push_out,
}
_OTHER_TEAM = {"good": "adversaries", "adversaries": "good", "all": "all"}


def script_of(module: str, team: str) -> Script:
    """Return the script of a team in a scenario."""
    return _SCRIPTS[module, team]


def opponent_of(module: str, team: str) -> Script:
    """Return the script of the team against which a team plays; its own where all agents are one team."""
    return _SCRIPTS[module, _OTHER_TEAM[team]]


class ParticleExpert:
    """The team's script: each agent looks seven steps ahead for the move that its scenario's aim asks for.

    Agents share out places by the shortest assignment, and those who come later in a joint step know the moves of
    those before them. No agent uses chance or a goal that only another knows, but all know where all others are and how
    they move, also where a view lacks it: the views of the turns before then have it.
    """

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode.

        Raises:
            ValueError: If the environment is not a game of particles.
        """
        inner = environment.unwrapped
        if not isinstance(inner, TurnEnvironment) or not isinstance(inner.game, ParticleGame):
            raise ValueError(f"an environment of type {type(inner).__name__}; expected a TurnEnvironment of particles")
        self._environment, self._game = inner, inner.game
        self._script = script_of(inner.game.scenario.module, inner.game.scenario.team)

    def act(self, observation: Observation) -> Action:
        """Return the action of the agent whose turn it is."""
        game, turn = self._game, self._environment.turn
        chosen = {agent.name: int(action) for agent, action in zip(game.team, self._environment.chosen, strict=False)}
        return self._script(game.world, game.team[turn], chosen, game.generator)

    def provenance(self) -> Mapping[str, Any]:
        """Return the script's name and the package's version."""
        return {"script": self._script.__name__, "versions": {"mpe2": version("mpe2")}}
