from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

from tasks.babyai.environment import VIEW_CELLS

UNSEEN, EMPTY, WALL, FLOOR, DOOR, KEY, BALL, BOX, GOAL, LAVA = (
    OBJECT_TO_IDX[name] for name in ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava")
)
OPEN, CLOSED, LOCKED = (STATE_TO_IDX[name] for name in ("open", "closed", "locked"))
MOVABLE = (KEY, BALL, BOX)

_MARGIN = VIEW_CELLS  # cells of wall around the grid, so that no view reaches beyond the lists
_MIDDLE = VIEW_CELLS // 2


class GridMemory:
    """What the agent has seen of the grid so far.

    A cell is one number, counted row by row with a margin around the grid; a pose is four times its cell plus the
    direction: 0 right, 1 down, 2 left, 3 up.

    Args:
        width: Columns of the grid.
        height: Rows of the grid.
        sees_through_walls: Whether walls hide nothing.
    """

    def __init__(self, width: int, height: int, *, sees_through_walls: bool) -> None:
        columns = width + 2 * _MARGIN
        size = columns * (height + 2 * _MARGIN)
        self.steps = (1, columns, -1, -columns)
        self.kinds, self.colours, self.states = [WALL] * size, [0] * size, [0] * size
        self.inside = [self.cell_at(x, y) for y in range(height) for x in range(width)]
        for cell in self.inside:
            self.kinds[cell] = UNSEEN
        self.pose = 0
        self.carried: tuple[int, int] | None = None
        self.num_changes = 0
        self._sees_through_walls = sees_through_walls

    def cell_at(self, x: int, y: int) -> int:
        """Return the cell of a column and a row."""
        return (y + _MARGIN) * self.steps[1] + x + _MARGIN

    def update(self, view: NDArray[np.uint8], pose: int) -> None:
        """Take in a view.

        Args:
            view: Object, colour and state of each cell, shape (columns, rows, 3), as ``decode_view`` returns it.
            pose: Where it was seen from.
        """
        seen = view.tolist()
        self.pose = pose
        hand, colour, _ = seen[_MIDDLE][-1]
        self.carried = (hand, colour) if hand in MOVABLE else None
        if self.kinds[pose // 4] == UNSEEN:
            self._set(pose // 4, EMPTY, 0, 0)
        for column, row, cell in self._cells_before(pose):
            kind, colour, state = seen[column][VIEW_CELLS - 1 - row]
            if kind != UNSEEN and cell != pose // 4:
                self._set(cell, kind, colour, state)

    def learn(self, cell: int, kind: int) -> None:
        """Know of a thing before it is seen."""
        self._set(cell, kind, 0, 0)

    def forget(self, kind: int) -> None:
        """Forget where things of a kind are."""
        for cell in self.inside:
            if self.kinds[cell] == kind:
                self.kinds[cell] = EMPTY

    def find(self, kind: int, colour: str = "") -> list[int]:
        """Return the cells of the things of a kind, and of a colour where one is named."""
        index = COLOR_TO_IDX[colour] if colour else None
        return [cell for cell in self.inside if self.kinds[cell] == kind and index in (None, self.colours[cell])]

    def find_frontier(self) -> set[int]:
        """Return the unseen cells that lie next to one that can be seen through."""
        return {
            cell
            for cell in self.inside
            if self.kinds[cell] == UNSEEN and any(self.kinds[cell + step] not in (UNSEEN, WALL) for step in self.steps)
        }

    def look(self, pose: int) -> list[int]:
        """Return the cells that a pose would show, if nothing could be seen through what is unseen."""
        if self._sees_through_walls:
            return [cell for _, _, cell in self._cells_before(pose)]
        here, direction = divmod(pose, 4)
        ahead, right = self.steps[direction], self.steps[(direction + 1) % 4]
        shown: list[int] = []
        row = [column == _MIDDLE for column in range(VIEW_CELLS)]
        for distance in range(VIEW_CELLS):
            first = here + distance * ahead - _MIDDLE * right
            clear = [self._is_clear(first + column * right) for column in range(VIEW_CELLS)]
            beyond = [False] * VIEW_CELLS
            for side, columns in ((1, range(VIEW_CELLS - 1)), (-1, range(VIEW_CELLS - 1, 0, -1))):
                for column in columns:
                    if row[column] and (clear[column] or (distance == 0 and column == _MIDDLE)):
                        row[column + side] = beyond[column + side] = beyond[column] = True
            shown += [first + column * right for column in range(VIEW_CELLS) if row[column]]
            row = beyond
        return shown

    def _cells_before(self, pose: int) -> Iterator[tuple[int, int, int]]:
        here, direction = divmod(pose, 4)
        ahead, right = self.steps[direction], self.steps[(direction + 1) % 4]
        for row in range(VIEW_CELLS):
            for column in range(VIEW_CELLS):
                yield column, row, here + row * ahead + (column - _MIDDLE) * right

    def _is_clear(self, cell: int) -> bool:
        kind = self.kinds[cell]
        return kind not in (UNSEEN, WALL) and (kind != DOOR or self.states[cell] == OPEN)

    def _set(self, cell: int, kind: int, colour: int, state: int) -> None:
        if (self.kinds[cell], self.colours[cell], self.states[cell]) != (kind, colour, state):
            self.kinds[cell], self.colours[cell], self.states[cell] = kind, colour, state
            self.num_changes += 1
