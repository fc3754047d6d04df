from __future__ import annotations

import numpy as np
from numba import njit

from tasks.sokoban.search import find_slot, make_table, measure_walks, pack_state


@njit(cache=True)
def play_in_reverse(walls, goals, player, offsets, draws):
    """Pull boxes away from the goals, at random and as a depth-first search, and return where they are best.

    A pull is undone by a push, so the level that begins there can be solved. Best is where no box is on a goal and the
    score is greatest: how often another box was pulled than before, times the cells, in rows and columns, between the
    boxes and where they began.

    Args:
        walls: Whether each cell is a wall, shape (cells,).
        goals: Where the boxes begin, shape (boxes,).
        player: Where the player begins.
        offsets: What is added to a cell's number to go up, down, left and right.
        draws: A random whole number from 0 on for each pull or return, shape (steps,).

    Returns:
        The boxes' cells in the order of the goals that they came from, and the player's cell last; and the score, 0
        when no place is good.

    Source:
        Racaniere et al., "Imagination-augmented agents for deep reinforcement learning", 2017, on procedural levels.
    """
    num_boxes, num_cells, columns = len(goals), len(walls), offsets[1]
    boxes = np.empty((len(draws) + 1, num_boxes), dtype=np.int64)
    players, pulled = np.empty(len(draws) + 1, dtype=np.int64), np.empty(len(draws) + 1, dtype=np.int64)
    changes = np.empty(len(draws) + 1, dtype=np.int64)
    keys, table, num_states = np.empty(len(draws) + 1, dtype=np.int64), make_table(len(draws) + 1), 1
    steps, queue = np.empty(num_cells, dtype=np.int64), np.empty(num_cells, dtype=np.int64)
    choices = np.empty((4 * num_boxes, 2), dtype=np.int64)
    found, best = np.zeros(num_boxes + 1, dtype=np.int64), 0
    is_taken, is_goal = walls.copy(), np.zeros(num_cells, dtype=np.bool_)
    for goal in goals:
        is_goal[goal] = True

    boxes[0], players[0], pulled[0], changes[0] = goals, player, -1, 0
    keys[0] = pack_state(goals, player)
    table[find_slot(table, keys, keys[0])] = 0
    depth = 0
    for draw in draws:
        if depth < 0:
            break
        for box in boxes[depth]:
            is_taken[box] = True
        measure_walks(is_taken, players[depth], offsets, steps, queue)
        num_choices = 0
        for number in range(num_boxes):
            for offset in offsets:
                to = boxes[depth, number] + offset
                if steps[to] < 0 or is_taken[to + offset]:
                    continue
                boxes[depth + 1] = boxes[depth]
                boxes[depth + 1, number] = to
                if table[find_slot(table, keys, pack_state(boxes[depth + 1], to + offset))] < 0:
                    choices[num_choices] = number, offset
                    num_choices += 1
        for box in boxes[depth]:
            is_taken[box] = False
        if num_choices == 0:
            depth -= 1
            continue
        number, offset = choices[draw % num_choices]
        boxes[depth + 1] = boxes[depth]
        boxes[depth + 1, number] += offset
        depth += 1
        players[depth], pulled[depth] = boxes[depth, number] + offset, number
        changes[depth] = changes[depth - 1] + (pulled[depth - 1] != number)
        keys[num_states] = pack_state(boxes[depth], players[depth])
        table[find_slot(table, keys, keys[num_states])] = num_states
        num_states += 1
        away, on_goals = 0, 0
        for number, box in enumerate(boxes[depth]):
            goal = goals[number]
            away += abs(goal // columns - box // columns) + abs(goal % columns - box % columns)
            on_goals += is_goal[box]
        if on_goals == 0 and changes[depth] * away > best:
            best = changes[depth] * away
            found[:num_boxes], found[num_boxes] = boxes[depth], players[depth]
    return found, best
