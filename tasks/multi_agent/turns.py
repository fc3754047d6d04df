from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

_Observation = dict[str, NDArray[Any]]


class Game(Protocol):
    """A game in which several agents act at once.

    Attributes:
        num_agents: Agents that the policy plays.
        view_spaces: What an agent sees, by key.
    """

    num_agents: int
    view_spaces: Mapping[str, spaces.Space]

    @property
    def action_space(self) -> spaces.Discrete | spaces.Box:
        """The action space of one agent, padded to the largest."""
        ...

    def reset(self, seed: int | None) -> None:
        """Begin an episode that the seed fixes."""
        ...

    def view(self, agent: int) -> Mapping[str, NDArray[Any]]:
        """Return what an agent sees."""
        ...

    def num_legal(self, agent: int) -> int:
        """Return how many of the discrete actions an agent has, always the first ones."""
        ...

    def play(self, actions: Sequence[Any]) -> tuple[float, bool, bool]:
        """Let all agents act; return the team's reward, and whether the game has ended or time is up."""
        ...

    def close(self) -> None:
        """Free what the game holds."""
        ...


class TurnEnvironment(gymnasium.Env):
    """A game of several agents as one sequence: a joint step is one turn for each agent, always in the same order.

    Source: Wen et al., "Multi-agent reinforcement learning is a sequence modeling problem", arXiv:2205.14953, whose
    agents also decide one after the other and know what the earlier ones chose.

    Observation:
        What the agent whose turn it is sees: the keys of the game (``view``, and ``heard`` where agents speak), all
        scaled to [-1, 1]. With more than one agent also ``agent``, which says whose turn it is, and ``chosen``, the
        actions of the agents before it in this joint step. With discrete actions ``agent`` has shape (1,) and
        ``chosen`` counts actions from 1, with 0 for those who have not chosen; with continuous ones ``agent`` is one
        number an agent, 1 at its own place and else 0, and ``chosen`` is 0 for those who have not chosen.

    Action:
        The agent's. All agents have one action space, padded to the largest: surplus discrete actions are masked in
        ``info["action_mask"]``, surplus numbers are ignored.

    Reward:
        The sum of the agents' rewards, or the one that they share, at the last agent's turn; 0 before it.

    End:
        As in the game, after a whole joint step.

    Expert:
        Scripts for particles and for robots whose motion has a closed form; else specialists.

    Licence:
        MIT (mpe2, gymnasium-robotics).

    Args:
        game: What is played.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        num_agents, action_space = game.num_agents, game.action_space
        parts: dict[str, spaces.Space] = dict(game.view_spaces)
        if num_agents > 1:
            if isinstance(action_space, spaces.Discrete):
                parts["agent"] = spaces.MultiDiscrete([num_agents])
                parts["chosen"] = spaces.MultiDiscrete([int(action_space.n) + 1] * (num_agents - 1))
            else:
                parts["agent"] = spaces.Box(-1.0, 1.0, (num_agents,))
                parts["chosen"] = spaces.Box(-1.0, 1.0, ((num_agents - 1) * action_space.shape[0],))
        self.observation_space = spaces.Dict(parts)
        self.action_space: spaces.Discrete | spaces.Box = action_space
        self.chosen: list[Any] = []
        """The actions of the earlier agents in this joint step."""

    @property
    def turn(self) -> int:
        """The agent whose turn it is."""
        return len(self.chosen)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin an episode.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the start is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.game.reset(seed)
        self.chosen = []
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Take the action of the agent whose turn it is; after the last agent's the game goes on."""
        reward, terminated, truncated = 0.0, False, False
        self.chosen.append(action)
        if self.turn == self.game.num_agents:
            reward, terminated, truncated = self.game.play(self.chosen)
            self.chosen = []
        return self._observe(), reward, terminated, truncated, self._info()

    def close(self) -> None:
        """Free what the game holds."""
        self.game.close()

    def _observe(self) -> _Observation:
        seen = dict(self.game.view(self.turn))
        if self.game.num_agents == 1:
            return seen
        if isinstance(self.action_space, spaces.Discrete):
            seen["agent"] = np.array([self.turn])
            chosen = np.zeros(self.game.num_agents - 1, dtype=np.int64)
            chosen[: self.turn] = np.array(self.chosen, dtype=np.int64) + 1
        else:
            seen["agent"] = np.eye(self.game.num_agents, dtype=np.float32)[self.turn]
            chosen = np.zeros((self.game.num_agents - 1, *self.action_space.shape), dtype=np.float32)
            for agent, action in enumerate(self.chosen):
                chosen[agent] = action
            chosen = chosen.reshape(-1)
        return seen | {"chosen": chosen}

    def _info(self) -> dict[str, Any]:
        if isinstance(self.action_space, spaces.Discrete):
            num_legal = self.game.num_legal(self.turn)
            if any(self.game.num_legal(agent) != self.action_space.n for agent in range(self.game.num_agents)):
                return {"action_mask": np.arange(self.action_space.n) < num_legal}
        return {}
