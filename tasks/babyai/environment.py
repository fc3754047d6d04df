from __future__ import annotations

import contextlib
import io
import string
from typing import Any

import gymnasium
import minigrid  # noqa: F401 - registers the levels
import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

VIEW_CELLS = 7
_COLOURS, _STATES = len(COLOR_TO_IDX), len(STATE_TO_IDX)
NUM_CELL_VALUES = len(OBJECT_TO_IDX) * _COLOURS * _STATES
"""Values of a cell: object x colour x state."""

_DIRECTIONS = 4
_LONGEST_MISSION_CHARACTERS = 512


def encode_view(view: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Write each cell of minigrid's symbolic view as one number.

    Args:
        view: Object, colour and state of each cell, shape (columns, rows, 3), the agent in the middle of the last row.

    Returns:
        One number a cell in ``0..NUM_CELL_VALUES - 1``, row by row from the farthest, shape (rows * columns,).
    """
    objects, colours, states = np.moveaxis(view.astype(np.int64), 2, 0)
    return ((objects * _COLOURS + colours) * _STATES + states).T.ravel()


def decode_view(cells: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the view that ``encode_view`` wrote, shape (columns, rows, 3)."""
    rest, states = np.divmod(np.asarray(cells).reshape(VIEW_CELLS, VIEW_CELLS).T, _STATES)
    objects, colours = np.divmod(rest, _COLOURS)
    return np.stack([objects, colours, states], axis=2).astype(np.uint8)


class BabyAIEnvironment(gymnasium.Wrapper):
    """A level of BabyAI: a grid of rooms, seen in part, and a mission in words.

    Observation:
        ``view``: 49 cells of 7 x 7, one number each for object, colour and state, row by row from the farthest; the
        agent stands in the middle of the last row and looks up, and what it carries lies in its own cell. Then the
        compass, as one of four numbers above those of the cells. int64, shape (50,).
        ``mission``: what is to be done, the same at each step.

    Action:
        0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle (open, close, unlock), 6 done (does nothing).

    Reward:
        1 - 0.9 * steps / limit when the mission is accomplished, else 0. ``info["summary"]["success"]`` at the end
        says whether it was.

    End:
        The mission is accomplished, made impossible, or the level's limit of steps is reached.

    Expert:
        The bot that comes with BabyAI; it plans with what it has seen so far.

    Licence:
        Apache-2.0 (minigrid).

    Source:
        Chevalier-Boisvert et al., "BabyAI: a platform to study the sample efficiency of grounded language learning",
        2019; levels and bot from minigrid.
    """

    def __init__(self, environment_id: str) -> None:
        super().__init__(gymnasium.make(environment_id, disable_env_checker=True))
        numbers = VIEW_CELLS * VIEW_CELLS + 1
        characters = string.ascii_lowercase + " ,"
        self.observation_space = spaces.Dict(
            {
                "mission": spaces.Text(_LONGEST_MISSION_CHARACTERS, charset=characters),
                "view": spaces.MultiDiscrete(np.full(numbers, NUM_CELL_VALUES + _DIRECTIONS)),
            }
        )
        self.action_space = spaces.Discrete(7)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Lay out a new level; equal seeds lay out alike."""
        with contextlib.redirect_stdout(io.StringIO()):  # the generator of levels prints each try that it rejects
            seen, info = self.env.reset(seed=seed, options=options)
        return _observation(seen), info

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Let the agent act."""
        seen, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            info = {**info, "summary": {"success": float(reward) > 0, "mission": seen["mission"]}}
        return _observation(seen), float(reward), terminated, truncated, info


def _observation(seen: dict[str, Any]) -> dict[str, Any]:
    compass = NUM_CELL_VALUES + int(seen["direction"])
    return {"mission": seen["mission"], "view": np.append(encode_view(seen["image"]), compass)}
