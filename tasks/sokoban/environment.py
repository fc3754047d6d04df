from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.sokoban.level import PLAYER_ON_GOAL, Level
from tasks.sokoban.problem import MOST_MOVES, Problem

_Observation = dict[str, NDArray[np.int64]]


class SokobanEnvironment(gymnasium.Env):
    """Push every box onto a goal; a box can be pushed, one at a time, but not pulled.

    Observation:
        ``room``: what each cell within the walls of the rim shows, row by row, int64 of shape ((size - 2)^2,): 0 wall,
        1 floor, 2 goal, 3 box, 4 box on a goal, 5 player, 6 player on a goal. Nothing is hidden.

    Action:
        0 up, 1 down, 2 left, 3 right. Moving against a box pushes it; where a wall, or another box behind it, stops the
        player, nothing happens. All actions are legal.

    Reward:
        -0.1 for each step, 1 for a box that comes onto a goal, -1 for one that leaves a goal, and 10 when all boxes are
        on goals. No box is on a goal at first, so a level solved in m moves returns ``boxes + 10 - m / 10`` whatever
        the way, and the fewest moves return the most.

    End:
        All boxes are on goals; or 120 steps are over (truncated). A box that is stuck ends nothing.

    Expert:
        A* over pushes with costs in moves: the shortest solution.

    Licence:
        Apache-2.0 (this project).

    Source:
        Racaniere et al., "Imagination-augmented agents for deep reinforcement learning", 2017 (rewards, 120 steps, how
        levels are drawn); Guez et al., "An investigation of model-free planning", 2019 (Boxoban: 10 x 10, 4 boxes).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        cells = (problem.size - 2) ** 2
        self.observation_space = spaces.Dict({"room": spaces.MultiDiscrete(np.full(cells, PLAYER_ON_GOAL + 1))})
        self.action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin with the level of the seed.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the level is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.level: Level = self.problem.draw(seed)
        """The level as it stands now."""
        self._num_steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Move the player, and the box that is in the way."""
        before = self._count_on_goals()
        self._move(int(self.level.offsets[int(action)]))
        self._num_steps += 1
        on_goals = self._count_on_goals()
        is_solved = on_goals == self.problem.num_boxes
        is_late = self._num_steps >= MOST_MOVES and not is_solved
        info = {"summary": {"solved": is_solved, "boxes_on_goals": on_goals}} if is_solved or is_late else {}
        return self._observe(), on_goals - before - 0.1 + 10.0 * is_solved, is_solved, is_late, info

    def _move(self, offset: int) -> None:
        level, walls = self.level, self.level.walls.ravel()
        to, behind = level.player + offset, level.player + 2 * offset
        boxes = level.boxes
        if to in boxes and not walls[behind] and behind not in boxes:
            boxes = np.sort(np.where(boxes == to, behind, boxes))
        if not walls[to] and to not in boxes:
            self.level = replace(level, boxes=boxes, player=to)

    def _count_on_goals(self) -> int:
        return len(set(self.level.boxes.tolist()) & set(self.level.goals.tolist()))

    def _observe(self) -> _Observation:
        return {"room": self.level.draw()[1:-1, 1:-1].ravel()}
