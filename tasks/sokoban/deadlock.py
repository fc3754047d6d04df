from __future__ import annotations

import numpy as np
from numba import njit

FAR = 10_000
"""More pushes than any level needs: there is no way."""


@njit(cache=True)
def measure_pushes(walls, goals, offsets):
    """Count the pushes that bring a lone box from each cell to each goal, by pulling it from the goal.

    Args:
        walls: Whether each cell is a wall, shape (cells,).
        goals: The goals' cells, shape (goals,).
        offsets: What is added to a cell's number to go in each direction, shape (4,).

    Returns:
        Pushes, ``FAR`` where there is no way, shape (goals, cells). A cell that is far from all goals is dead.
    """
    pushes = np.full((len(goals), len(walls)), FAR, dtype=np.int64)
    queue = np.empty(len(walls), dtype=np.int64)
    for number, goal in enumerate(goals):
        pushes[number, goal] = 0
        queue[0] = goal
        first, last = 0, 1
        while first < last:
            cell = queue[first]
            first += 1
            for offset in offsets:
                to = cell + offset
                if not walls[to] and not walls[to + offset] and pushes[number, to] == FAR:
                    pushes[number, to] = pushes[number, cell] + 1
                    queue[last] = to
                    last += 1
    return pushes


@njit(cache=True)
def is_frozen(walls, is_dead, is_goal, boxes, offsets):
    """Tell whether some box off the goals can never be moved again without losing.

    All boxes are taken as frozen; then one after another is freed that could be pushed along an axis if the freed ones
    were away, and not only onto dead cells. The boxes that remain block each other for good.

    Args:
        walls: Whether each cell is a wall, shape (cells,).
        is_dead: Whether no goal can be reached from a cell, shape (cells,).
        is_goal: Whether each cell is a goal, shape (cells,).
        boxes: The boxes' cells, shape (boxes,).
        offsets: As in ``measure_pushes``: up, down, left, right.

    Source:
        Junghanns and Schaeffer, "Sokoban: enhancing general single-agent search methods using domain knowledge", 2001,
        on deadlocks; the fixed point is this project's.
    """
    frozen = np.ones(len(boxes), dtype=np.bool_)
    is_changed = True
    while is_changed:
        is_changed = False
        for number, box in enumerate(boxes):
            if not frozen[number]:
                continue
            for axis in (0, 2):
                one, other = box + offsets[axis], box + offsets[axis + 1]
                is_blocked = walls[one] or walls[other] or (is_dead[one] and is_dead[other])
                for neighbour in range(len(boxes)):
                    if frozen[neighbour] and (boxes[neighbour] == one or boxes[neighbour] == other):
                        is_blocked = True
                if not is_blocked:
                    frozen[number] = False
                    is_changed = True
                    break
    return np.any(frozen & ~is_goal[boxes])
