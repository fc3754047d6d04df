from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tasks.corpora.courses import is_same
from tasks.corpora.lesson import NUMBERS, TURNS, Turn, draw_one
from tasks.corpora.rooms import TILE
from tasks.sokoban.level import BOX, BOX_ON_GOAL, FLOOR, GOAL, PLAYER, PLAYER_ON_GOAL, WALL, Level
from tasks.sokoban.room import carve_room
from tasks.task import EVALUATION_SEED

SIDE = 5
"""Cells of a board's side, without the walls around it."""

_MOST_BOXES = 4
_NAMES = {FLOOR: "nothing", GOAL: "a goal", BOX: "a box", BOX_ON_GOAL: "a box on a goal", WALL: "a wall"}
_SIDES = {"above": (-1, 0), "below": (1, 0), "left of": (0, -1), "right of": (0, 1)}
_COUNTED = {
    "boxes stand on goals": lambda cells: np.sum(cells == BOX_ON_GOAL),
    "boxes are there": lambda cells: np.sum((cells == BOX) | (cells == BOX_ON_GOAL)),
    "goals have no box": lambda cells: np.sum((cells == GOAL) | (cells == PLAYER_ON_GOAL)),
}
_HOW_MANY = ("how many {what}?", "tell me how many {what}", "count how many {what}")
_WHAT = ("what is {side} the player?", "what stands {side} the player?", "tell me what is {side} the player")


@dataclass(frozen=True)
class BoardQuestions:
    """Questions about Sokoban's boards: how many boxes stand on goals, and what is beside the player.

    In evaluation the player stands where no training board has it with as many boxes.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
    """

    number: int
    image_shape: tuple[int, int, int] = (SIDE * TILE, SIDE * TILE, 3)
    asks: bool = True

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        boards = [_draw_board(rng, held_out=seed >= EVALUATION_SEED) for _ in range(TURNS)]
        return [_ask(rng, cells) for cells in boards]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return is_same(turn, answer)


def list_sentences() -> list[str]:
    """Return the questions and the answers, from which a tokenizer learns its words."""
    asked = [form.format(what=what) for form in _HOW_MANY for what in _COUNTED]
    asked += [form.format(side=side) for form in _WHAT for side in _SIDES]
    return [*asked, *_NAMES.values(), *NUMBERS]


def is_held_out(cells: NDArray[np.int64]) -> bool:
    """Return whether the player's cell and the number of boxes occur together in evaluation alone; one in five does."""
    player = int(np.flatnonzero((cells == PLAYER) | (cells == PLAYER_ON_GOAL))[0])
    return (player + int(_COUNTED["boxes are there"](cells))) % 5 == 0


def render_board(cells: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Draw what each cell shows, shape (rows * ``TILE``, columns * ``TILE``, 3)."""
    rows, columns = cells.shape
    return _tiles()[cells].transpose(0, 2, 1, 3, 4).reshape(rows * TILE, columns * TILE, 3)


def _draw_board(rng: np.random.Generator, *, held_out: bool) -> NDArray[np.int64]:
    while True:
        walls = carve_room(SIDE + 2, rng)
        free = np.flatnonzero(~walls)
        num_boxes = int(rng.integers(1, _MOST_BOXES + 1))
        if len(free) < 2 * num_boxes + 1:
            continue
        goals = np.sort(rng.choice(free, num_boxes, replace=False))
        placed = rng.permutation(goals)[: rng.integers(num_boxes + 1)]
        others = rng.permutation(np.setdiff1d(free, goals))
        boxes = np.sort(np.concatenate([placed, others[: num_boxes - len(placed)]]))
        player = int(rng.choice(np.setdiff1d(free, boxes)))
        cells = Level(walls, goals, boxes, player).draw()[1:-1, 1:-1]
        if is_held_out(cells) == held_out:
            return cells


def _ask(rng: np.random.Generator, cells: NDArray[np.int64]) -> Turn:
    if rng.random() < 0.5:
        what = draw_one(rng, list(_COUNTED))
        question, answer = draw_one(rng, _HOW_MANY).format(what=what), NUMBERS[int(_COUNTED[what](cells))]
    else:
        side = draw_one(rng, list(_SIDES))
        (row,), (column,) = np.nonzero((cells == PLAYER) | (cells == PLAYER_ON_GOAL))
        row, column = row + _SIDES[side][0], column + _SIDES[side][1]
        inside = 0 <= row < SIDE and 0 <= column < SIDE
        question, answer = draw_one(rng, _WHAT).format(side=side), _NAMES[int(cells[row, column]) if inside else WALL]
    return Turn(answer, cells, question, render_board(cells))


@cache
def _tiles() -> NDArray[np.uint8]:
    """Return the picture of what a cell can show, shape (7, ``TILE``, ``TILE``, 3)."""
    y, x = (np.mgrid[:TILE, :TILE] + 0.5) / TILE - 0.5
    ring, disc = np.hypot(x, y), np.hypot(x, y) < 0.36
    goal, box = (ring > 0.18) & (ring < 0.3), np.maximum(np.abs(x), np.abs(y)) < 0.4
    tiles = np.full((7, TILE, TILE, 3), (225, 215, 195), np.uint8)
    tiles[WALL] = (70, 75, 90)
    tiles[GOAL, goal] = tiles[PLAYER_ON_GOAL, goal] = (200, 50, 50)
    tiles[BOX, box] = (150, 100, 40)
    tiles[BOX_ON_GOAL, box] = (60, 140, 60)
    tiles[PLAYER, disc] = tiles[PLAYER_ON_GOAL, disc & ~goal] = (40, 80, 190)
    return tiles
