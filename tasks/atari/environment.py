from __future__ import annotations

from functools import cache
from math import gcd
from typing import Any

import ale_py  # pyright: ignore[reportMissingImports]
import gymnasium
import numpy as np
from ale_py import roms  # pyright: ignore[reportMissingImports]
from gymnasium import spaces
from numpy.typing import NDArray

FRAME_SKIP = 4
"""Frames for which an action is held."""

NUM_STEPS = 1000
"""Steps of an episode at most: 4,000 frames, 67 seconds of play."""

NUM_ACTIONS = 18
"""Positions of the stick (9), each with and without the button."""

SIDE = 64
"""Height and width of the screen that is seen."""

_LONGEST_WAIT = 30
_MOST_RANDOM_STEPS = 10

_Observation = dict[str, NDArray[np.uint8]]


class AtariEnvironment(gymnasium.Env):
    """A game of the Atari 2600 for one player.

    Source: Bellemare, Naddaf, Veness and Bowling, "The arcade learning environment", 2013; without sticky actions, as
    in Mnih et al., "Human-level control through deep reinforcement learning", 2015.

    Observation:
        ``screen``: the brighter of the last two frames, since some games draw a thing only in every other one, averaged
        over areas to 64 x 64 pixels, uint8 of shape (64, 64, 3).

    Action:
        The stick and the button, numbered as in the Arcade Learning Environment, which are the same in all games:
        0 nothing, 1 fire, 2 up, 3 right, 4 left, 5 down, 6-9 diagonals, 10-17 up to the last diagonal with fire. It is
        held for 4 frames. ``info["action_mask"]`` leaves those that the game has a use for.

    Reward:
        What the game's score grows by.

    End:
        The game is over; truncated after 1,000 steps, so that a return is the score of the first 67 seconds.

    Expert:
        A script on the console's memory, or a planner that tries plans on copies of the console's state.

    Licence:
        GPL-2.0-only (the emulator, ale-py, which brings the games along).

    The seed chooses how many frames pass (1 to 30) and how many random actions are taken (1 to 10) before the first
    observation.

    Args:
        game: The game's name in ale-py, such as ``space_invaders``.

    Raises:
        ValueError: If there is no such game.
    """

    def __init__(self, game: str) -> None:
        rom = roms.get_rom_path(game)
        if rom is None:
            raise ValueError(f"no game {game!r} comes with ale-py; expected one of {', '.join(roms.get_all_rom_ids())}")
        self.game = game
        self.observation_space = spaces.Dict({"screen": spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)})
        self.action_space = spaces.Discrete(NUM_ACTIONS)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._console = ale_py.ALEInterface()
        self._console.setInt("random_seed", 0)
        self._console.setFloat("repeat_action_probability", 0.0)
        self._console.loadROM(str(rom))
        self._console.reset_game()
        self._switched_on = self._console.cloneSystemState()
        self.actions = sorted(action.value for action in self._console.getMinimalActionSet())
        """The actions that the game has a use for."""
        self._mask = np.isin(np.arange(NUM_ACTIONS), self.actions)
        self.episode_seed = 0

    @property
    def lives(self) -> int:
        """Lives left; 0 in games that do not count any."""
        return self._console.lives()

    @property
    def is_over(self) -> bool:
        """Whether the game has ended."""
        return self._console.game_over()

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The console's memory, shape (128,)."""
        return self._console.getRAM()

    def save(self) -> ale_py.ALEState:
        """Return the console's state."""
        return self._console.cloneState()

    def restore(self, state: ale_py.ALEState) -> None:
        """Go back to a state; the number of steps is the environment's own and stays."""
        self._console.restoreState(state)

    def advance(self, action: int, frames: int = FRAME_SKIP) -> float:
        """Hold an action for some frames, look at nothing, and return what the score grows by."""
        reward = 0
        for _ in range(frames):
            if self._console.game_over():
                break
            reward += self._console.act(action)
        return float(reward)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Switch the console on, and let some frames and random actions pass.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the game's beginning is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.episode_seed, self._num_steps = seed, 0
        self._console.restoreSystemState(self._switched_on)
        self.advance(0, int(self.np_random.integers(1, _LONGEST_WAIT + 1)))
        begun, lives = self.save(), self.lives
        for action in self.np_random.choice(self.actions, int(self.np_random.integers(1, _MOST_RANDOM_STEPS + 1))):
            self.advance(int(action))
        if self.is_over or self.lives < lives:
            self.restore(begun)
        return self._observe(self._console.getScreenRGB()), self._info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Hold the action for four frames."""
        reward = self.advance(int(action), FRAME_SKIP - 1)
        before = self._console.getScreenRGB()
        reward += self.advance(int(action), 1)
        self._num_steps += 1
        seen = self._observe(np.maximum(before, self._console.getScreenRGB()))
        return seen, reward, self.is_over, not self.is_over and self._num_steps >= NUM_STEPS, self._info()

    def _info(self) -> dict[str, Any]:
        return {} if self._mask.all() else {"action_mask": self._mask}

    def _observe(self, frame: NDArray[np.uint8]) -> _Observation:
        return {"screen": shrink(frame)}


def shrink(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average the areas of a frame that fall into each of 64 x 64 pixels, exactly.

    Args:
        frame: Colours, shape (height, width, 3).

    Returns:
        Colours rounded down, shape (64, 64, 3).
    """
    height, width, _ = frame.shape
    rows, columns = _overlaps(height), _overlaps(width)
    total = rows @ frame.reshape(height, -1).astype(np.float32)  # (64, width * 3); whole numbers below 2**24
    total = columns @ total.reshape(SIDE, width, 3)  # (64, 64, 3)
    return (total // (rows[0].sum() * columns[0].sum())).astype(np.uint8)


@cache
def _overlaps(size: int) -> NDArray[np.float32]:
    """How much each pixel shares with each of 64 areas, in whole parts of a pixel, shape (64, size)."""
    parts = SIDE // gcd(size, SIDE)  # a pixel is cut into as many parts, so that areas are made of whole ones
    area = size * parts // SIDE
    begin = np.maximum(np.arange(SIDE)[:, None] * area, np.arange(size) * parts)
    end = np.minimum(np.arange(1, SIDE + 1)[:, None] * area, np.arange(1, size + 1) * parts)
    return np.maximum(end - begin, 0).astype(np.float32)
