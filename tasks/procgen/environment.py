from __future__ import annotations

from typing import Any

import envpool  # pyright: ignore[reportMissingImports]
import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

NUM_STEPS = 500
"""Steps of an episode at most; Procgen's own limits are 500 to 6,000."""

NUM_ACTIONS = 15
SIDE = 64
"""Height and width of the screen."""

_Observation = dict[str, NDArray[np.uint8]]


def open_level(game: str, level: int, count: int) -> Any:
    """Make copies of one level that are stepped together; equal actions give equal episodes.

    Args:
        game: The game's name in Procgen, such as ``coinrun``.
        level: The level's seed, below 2**31.
        count: Number of copies.
    """
    return envpool.make(
        f"{game.capitalize()}Easy-v0",
        env_type="gymnasium",
        num_envs=count,
        num_threads=1,
        seed=0,
        start_level=level,
        num_levels=1,
        channel_first=False,
    )


class ProcgenEnvironment(gymnasium.Env):
    """A game of Procgen, whose level is generated from the seed, in the easy mode.

    Source: Cobbe, Hesse, Hilton and Schulman, "Leveraging procedural generation to benchmark reinforcement learning",
    2020; run by envpool.

    Observation:
        ``screen``: the game's picture, uint8 of shape (64, 64, 3).

    Action:
        0-8 walk or steer: left, none or right (0-2, 3-5, 6-8), each with down, none or up; 4 does nothing. 9-14 are
        further buttons, of which 9 fires in the games where something is fired.

    Reward:
        Procgen's, most often 1 for something collected or hit and 10 for the goal.

    End:
        The goal is reached or the player lost; truncated after 500 steps.

    Expert:
        A planner, or an explorer where a goal ends the level; both try actions on copies of the level.

    Licence:
        Apache-2.0 (envpool) and MIT (Procgen).

    Args:
        game: The game's name in Procgen, such as ``coinrun``.
    """

    def __init__(self, game: str) -> None:
        self.game = game
        self.observation_space = spaces.Dict({"screen": spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)})
        self.action_space = spaces.Discrete(NUM_ACTIONS)
        self.level = -1
        """The seed of the present level."""
        self.actions: list[int] = []
        """The actions taken since the level began."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Generate the level of the seed.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the level is generated from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.close()
        self._levels = open_level(self.game, seed, 1)
        self.level, self.actions = seed, []
        screens, _ = self._levels.reset()
        return {"screen": screens[0].copy()}, {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Let the player act."""
        screens, rewards, ends, cuts, _ = self._levels.step(np.array([action], dtype=np.int32))
        self.actions.append(int(action))
        terminated = bool(ends[0])
        truncated = not terminated and (bool(cuts[0]) or len(self.actions) >= NUM_STEPS)
        return {"screen": screens[0].copy()}, float(rewards[0]), terminated, truncated, {}

    def close(self) -> None:
        """Free the level."""
        if self.level >= 0:
            self._levels.close()
            self.level = -1
