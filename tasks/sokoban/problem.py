from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from tasks.sokoban.level import MOST_BOXES, Level
from tasks.sokoban.reverse import play_in_reverse
from tasks.sokoban.room import carve_room
from tasks.sokoban.search import SearchCappedError, solve_level
from tasks.task import EVALUATION_SEED

MOST_MOVES = 120
"""Moves of an episode, and of the longest solution."""

ROOMS = {"easy": 1, "medium": 4, "hard": 32}
"""Levels of which the one with the longest shortest solution is taken.

With 10 x 10 cells and 4 boxes the shortest solution has 29 moves in the median of easy levels (a twentieth has fewer
than 15, another more than 49), 42 of medium (31, 69) and 58 of hard ones (44, 85).
"""

_REVERSE_STEPS = 3000
_LARGEST_SIZE = 11


@dataclass(frozen=True)
class Problem:
    """Where the levels of a task come from.

    Args:
        size: Rows and columns, the walls on the rim included.
        num_boxes: Boxes of a level.
        difficulty: One of ``ROOMS``.

    Raises:
        ValueError: If there is no such difficulty, or not 5 to 11 rows and 1 to 5 boxes.
    """

    size: int
    num_boxes: int
    difficulty: str

    def __post_init__(self) -> None:
        if self.difficulty not in ROOMS or not 5 <= self.size <= _LARGEST_SIZE or not 1 <= self.num_boxes <= MOST_BOXES:
            raise ValueError(
                f"{self.num_boxes} boxes in {self.size} rows, difficulty {self.difficulty!r}; expected 1 to "
                f"{MOST_BOXES} in 5 to {_LARGEST_SIZE}, one of {', '.join(ROOMS)}"
            )

    def draw(self, seed: int) -> Level:
        """Return the level of a seed.

        A level is drawn again when the solver's cap on states leaves it unsolved (2 in 100 with 5 boxes, hardly any
        with fewer) or 120 moves do not solve it, so every level has a known shortest solution. A level whose checksum
        is even belongs to the training seeds and one whose checksum is odd to the evaluation seeds, so that no level is
        among both, even of two tasks of one size.
        """
        generator = np.random.default_rng([self.size, self.num_boxes, ROOMS[self.difficulty], seed])
        hardest, most_moves, num_rooms = None, -1, 0
        while hardest is None or num_rooms < ROOMS[self.difficulty]:
            level = self._draw_once(generator)
            if level is None or crc32(level.draw().astype(np.uint8).tobytes()) % 2 != (seed >= EVALUATION_SEED):
                continue
            try:
                moves = solve_level(level, most_moves=MOST_MOVES)
            except SearchCappedError:
                continue
            if moves is None:
                continue
            num_rooms += 1
            if len(moves) > most_moves:
                hardest, most_moves = level, len(moves)
        return hardest

    def _draw_once(self, generator: np.random.Generator) -> Level | None:
        walls = carve_room(self.size, generator)
        floor = np.flatnonzero(~walls)
        if len(floor) <= 2 * self.num_boxes:
            return None
        player, *goals = generator.choice(floor, 1 + self.num_boxes, replace=False)
        goals, offsets = np.sort(goals), np.array([-self.size, self.size, -1, 1])
        draws = generator.integers(1 << 30, size=_REVERSE_STEPS)
        (*boxes, player), score = play_in_reverse(walls.ravel(), goals, int(player), offsets, draws)
        return Level(walls, goals, np.sort(boxes), int(player)) if score > 0 else None
