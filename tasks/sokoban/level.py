from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CELLS = 128
"""Cells of the largest grid: the solver packs a cell in seven bits."""

MOST_BOXES = 5

WALL, FLOOR, GOAL, BOX, BOX_ON_GOAL, PLAYER, PLAYER_ON_GOAL = range(7)
"""What a cell shows."""

_SIGNS = "# .$*@+"


@dataclass(frozen=True)
class Level:
    """A walled room with goals, boxes and a player; a cell is numbered ``row * columns + column``.

    Args:
        walls: Whether each cell is a wall, shape (rows, columns); those on the rim are.
        goals: The goals' cells, ascending.
        boxes: The boxes' cells, ascending; as many as goals.
        player: The player's cell.

    Raises:
        ValueError: If the rim is open, or goals and boxes do not match, or one of them or the player is in a wall.
    """

    walls: NDArray[np.bool_]
    goals: NDArray[np.int64]
    boxes: NDArray[np.int64]
    player: int

    def __post_init__(self) -> None:
        inside = np.zeros_like(self.walls)
        inside[1:-1, 1:-1] = True
        if self.walls.size > MOST_CELLS or not (self.walls | inside).all():
            raise ValueError(
                f"a level of {' x '.join(map(str, self.walls.shape))} cells; expected walls all around and at most "
                f"{MOST_CELLS} cells"
            )
        if not 1 <= len(self.boxes) <= MOST_BOXES or len(self.goals) != len(self.boxes):
            raise ValueError(
                f"{len(self.boxes)} boxes and {len(self.goals)} goals; expected equally many, 1 to {MOST_BOXES}"
            )
        if self.walls.ravel()[[*self.goals, *self.boxes, self.player]].any() or self.player in self.boxes:
            raise ValueError(
                f"the player at {self.player}, boxes at {self.boxes.tolist()}, goals at {self.goals.tolist()}; "
                "expected all of them on the floor and the player on no box"
            )

    @property
    def columns(self) -> int:
        """Cells of a row."""
        return self.walls.shape[1]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """What is added to a cell's number to go up, down, left and right."""
        return np.array([-self.columns, self.columns, -1, 1])

    def draw(self) -> NDArray[np.int64]:
        """Return what each cell shows, shape (rows, columns)."""
        cells = np.where(self.walls, WALL, FLOOR).ravel()
        cells[self.goals] = GOAL
        cells[self.boxes] = np.where(cells[self.boxes] == GOAL, BOX_ON_GOAL, BOX)
        cells[self.player] = PLAYER_ON_GOAL if cells[self.player] == GOAL else PLAYER
        return cells.reshape(self.walls.shape)

    def __str__(self) -> str:
        return "\n".join("".join(_SIGNS[cell] for cell in row) for row in self.draw())


def read_level(text: str) -> Level:
    """Read a level in the usual signs: ``#`` wall, ``.`` goal, ``$`` box, ``@`` player, ``*`` and ``+`` on a goal.

    Raises:
        ValueError: If the rows differ in length, a sign is unknown, there is not one player, or the level is unsound.
    """
    rows = text.strip("\n").split("\n")
    if len({len(row) for row in rows}) != 1 or set("".join(rows)) - set(_SIGNS):
        raise ValueError(f"the rows {rows}; expected rows of one length of the signs {_SIGNS!r}")
    cells = np.array([[_SIGNS.index(sign) for sign in row] for row in rows])
    player, boxes, goals = (
        np.flatnonzero(np.isin(cells, kinds))
        for kinds in ([PLAYER, PLAYER_ON_GOAL], [BOX, BOX_ON_GOAL], [GOAL, BOX_ON_GOAL, PLAYER_ON_GOAL])
    )
    if len(player) != 1:
        raise ValueError(f"{len(player)} players in the rows {rows}; expected one")
    return Level(cells == WALL, goals, boxes, int(player[0]))
