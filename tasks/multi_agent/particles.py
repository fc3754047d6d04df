from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.multi_agent.scenarios import Scenario

NUM_STEPS = 25
"""Joint steps of an episode."""

_SEES_NO_OTHERS = ("simple_line", "simple_formation")

Script = Callable[[Any, Any, Mapping[str, int], np.random.Generator], int]
"""Chooses an action from the world, the agent, its teammates' actions of this joint step by name, and chance."""


class ParticleGame:
    """A scenario of mpe2: discs with mass and drag that push themselves about, some of which speak.

    Source: Lowe et al., "Multi-agent actor-critic for mixed cooperative-competitive environments", arXiv:1706.02275,
    and for ``collect_treasure``, ``simple_line`` and ``simple_formation`` mpe2, which names their sources.

    An agent sees mpe2's numbers x as tanh(x), without those of words: ``heard`` is the last word that it was told, from
    1, and 0 for silence. In a line or formation it also sees where the others are, which mpe2 does not show.

    Actions are mpe2's discrete ones, ``move + 5 * word`` where an agent does both: stay, left, right, down, up.

    Args:
        scenario: What is played and by which team.
        opponent: Plays all agents of the other team.
    """

    def __init__(self, scenario: Scenario, opponent: Script) -> None:
        self.scenario, self._opponent = scenario, opponent
        module = importlib.import_module(f"mpe2.{scenario.module}.{scenario.module}")
        self._game = module.raw_env(max_cycles=NUM_STEPS, **scenario.options)
        self._game.reset(seed=0)
        self.world: Any = self._game.world
        self.team = [agent for agent in self.world.agents if _is_in(agent, scenario.team)]
        self.num_agents = len(self.team)
        self._num_legal = [int(self._game.action_space(agent.name).n) for agent in self.team]
        self.action_space: spaces.Discrete = spaces.Discrete(max(self._num_legal))
        self._size = max(len(self._look(agent)[0]) for agent in self.team)
        self.view_spaces: Mapping[str, spaces.Space] = {"view": spaces.Box(-1.0, 1.0, (self._size,))}
        if any(self._num_heard(agent) for agent in self.team):
            self.view_spaces |= {"heard": spaces.MultiDiscrete([self.world.dim_c + 1])}

    def reset(self, seed: int | None) -> None:
        """Place agents and landmarks."""
        self._game.reset(seed=seed)
        self.generator = np.random.default_rng([0 if seed is None else seed, 1])

    def view(self, agent: int) -> Mapping[str, NDArray[Any]]:
        """Return what an agent sees and heard last."""
        numbers, word = self._look(self.team[agent])
        view = np.zeros(self._size, dtype=np.float32)
        view[: len(numbers)] = np.tanh(numbers)
        return {"view": view} | ({"heard": np.array([word])} if "heard" in self.view_spaces else {})

    def num_legal(self, agent: int) -> int:
        """Return how many actions an agent has."""
        return self._num_legal[agent]

    def play(self, actions: Sequence[Any]) -> tuple[float, bool, bool]:
        """Let all agents act at once, the other team by its script."""
        chosen = {agent.name: int(action) for agent, action in zip(self.team, actions, strict=True)}
        others: dict[str, int] = {}
        for agent in self.world.agents:
            if agent.name not in chosen:
                others[agent.name] = self._opponent(self.world, agent, others, self.generator)
        for agent in self.world.agents:
            self._game.step((chosen | others)[agent.name])
        reward = sum(self._game.rewards[agent.name] for agent in self.team)
        name = self.team[0].name
        return float(reward), bool(self._game.terminations[name]), bool(self._game.truncations[name])

    def close(self) -> None:
        """Do nothing: closing mpe2's game would end pygame for all others."""

    def _look(self, agent: Any) -> tuple[NDArray[np.float64], int]:
        numbers = self._game.scenario.observation(agent, self.world)
        num_heard = self._num_heard(agent)
        told = numbers[len(numbers) - num_heard :]
        if self.scenario.module in ("simple_spread", *_SEES_NO_OTHERS):
            places = [other.state.p_pos - agent.state.p_pos for other in self.world.agents if other is not agent]
            own = numbers[: 4 + 2 * len(self.world.landmarks)]
            return np.concatenate([own, *places]), 0
        return numbers[: len(numbers) - num_heard], int(np.argmax(told)) + 1 if np.any(told) else 0

    def _num_heard(self, agent: Any) -> int:
        match self.scenario.module:
            case "simple_reference":
                hears = True
            case "simple_speaker_listener":
                hears = agent.movable
            case "simple_crypto":
                hears = not agent.speaker
            case "simple_world_comm":
                hears = agent.adversary
            case _:
                hears = False
        return self.world.dim_c if hears else 0


def _is_in(agent: Any, team: str) -> bool:
    return team == "all" or getattr(agent, "adversary", False) == (team == "adversaries")
