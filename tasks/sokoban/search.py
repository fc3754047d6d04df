from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.sokoban.deadlock import FAR, is_frozen, measure_pushes
from tasks.sokoban.level import MOST_CELLS, Level

MOST_STATES = 250_000
"""States that a search may reach; a count, not a time, so that equal levels have equal solutions."""

_BITS = MOST_CELLS.bit_length() - 1
_UNSOLVABLE, _CAPPED = -1, -2


class SearchCappedError(RuntimeError):
    """A level needs a longer search than it is granted."""


def solve_level(level: Level, *, most_moves: int, most_states: int = MOST_STATES) -> NDArray[np.int64] | None:
    """Find the fewest moves that bring every box onto a goal.

    A* over pushes: a state is where the boxes are and where the player stands after a push; its cost is in moves, the
    walks between the pushes included. What is left is bounded by the cheapest matching of boxes to goals in pushes.
    States with a box on a dead cell, with frozen boxes or without a matching are left out.

    Args:
        level: The level.
        most_moves: Longer solutions are not looked for.
        most_states: States that the search may reach.

    Returns:
        The moves, 0 up, 1 down, 2 left, 3 right, shape (moves,); None when there is no solution of so few moves.

    Raises:
        SearchCappedError: If the search reaches too many states before the answer is certain.

    Source:
        Junghanns and Schaeffer, "Sokoban: enhancing general single-agent search methods using domain knowledge", 2001.
    """
    walls, offsets = level.walls.ravel(), level.offsets
    pushes = measure_pushes(walls, level.goals, offsets)
    keys = _search(walls, level.goals, level.boxes, level.player, offsets, pushes, most_moves, most_states)
    if keys[0] == _CAPPED:
        raise SearchCappedError(
            f"the search reached {most_states} states without an answer; expected a level that needs fewer:\n{level}"
        )
    if keys[0] == _UNSOLVABLE:
        return None
    return _spell_moves(walls, keys[::-1], len(level.boxes), offsets)


@njit(cache=True)
def measure_walks(is_taken, start, offsets, steps, queue):
    """Count the steps from a cell to each other cell; write them into ``steps``, -1 where there is no way."""
    steps[:] = -1
    steps[start] = 0
    queue[0] = start
    first, last = 0, 1
    while first < last:
        cell = queue[first]
        first += 1
        for offset in offsets:
            to = cell + offset
            if not is_taken[to] and steps[to] < 0:
                steps[to] = steps[cell] + 1
                queue[last] = to
                last += 1


@njit(cache=True)
def pack_state(boxes, player):
    """Return one number for the player's cell and the set of the boxes' cells."""
    key, last = np.int64(player), np.int64(-1)
    for _ in range(len(boxes)):
        smallest = np.int64(MOST_CELLS)
        for box in boxes:
            if last < box < smallest:
                smallest = box
        key, last = (key << _BITS) | smallest, smallest
    return key


@njit(cache=True)
def find_slot(table, keys, key):
    """Return the slot of a hash table of numbers into ``keys`` where a key is, or where it belongs (then it holds -1).

    The table's length is a power of two, and it is never full.
    """
    mask = len(table) - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mixed >> np.uint64(32)) & mask
    while table[slot] >= 0 and keys[table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def make_table(most_keys):
    """Return an empty hash table for so many keys, at most half full."""
    size = 16
    while size < 2 * most_keys:
        size *= 2
    return np.full(size, -1, dtype=np.int32)


@njit(cache=True)
def _match(pushes, boxes, best):
    """Return the fewest pushes of a matching of boxes to goals, at least ``FAR`` when there is none."""
    best[:] = FAR
    best[0] = 0
    for used in range(len(best) - 1):
        box = 0
        for goal in range(len(boxes)):
            box += (used >> goal) & 1
        for goal in range(len(boxes)):
            if not (used >> goal) & 1:
                with_it = used | (1 << goal)
                best[with_it] = min(best[with_it], best[used] + pushes[goal, boxes[box]])
    return best[-1]


@njit(cache=True)
def _link(first, before, after, rank, state):
    """Put a state in front of those of its rank."""
    before[state] = -1
    after[state] = first[rank]
    if first[rank] >= 0:
        before[first[rank]] = state
    first[rank] = state


@njit(cache=True)
def _unlink(first, before, after, rank, state):
    """Take a state out of those of its rank."""
    if before[state] >= 0:
        after[before[state]] = after[state]
    else:
        first[rank] = after[state]
    if after[state] >= 0:
        before[after[state]] = before[state]


@njit(cache=True)
def _search(walls, goals, boxes, player, offsets, pushes, most_moves, most_states):
    """Return the packed states of a best way, last first; or one number that says why there is none."""
    num_boxes, num_cells = len(boxes), len(walls)
    keys, parents = np.empty(most_states, dtype=np.int64), np.empty(most_states, dtype=np.int32)
    costs, bounds = np.empty(most_states, dtype=np.int32), np.empty(most_states, dtype=np.int32)
    is_closed = np.zeros(most_states, dtype=np.bool_)
    before, after = np.empty(most_states, dtype=np.int32), np.empty(most_states, dtype=np.int32)
    first = np.full(most_moves + 1, -1, dtype=np.int32)
    table = make_table(most_states)
    steps, queue = np.empty(num_cells, dtype=np.int64), np.empty(num_cells, dtype=np.int64)
    best = np.empty(1 << num_boxes, dtype=np.int64)
    is_taken, is_goal, is_dead = walls.copy(), np.zeros(num_cells, dtype=np.bool_), np.ones(num_cells, dtype=np.bool_)
    for number, goal in enumerate(goals):
        is_goal[goal] = True
        for cell in range(num_cells):
            is_dead[cell] = is_dead[cell] and pushes[number, cell] == FAR
    now, moved = boxes.copy(), boxes.copy()

    rank = _match(pushes, boxes, best)
    if rank > most_moves:
        return np.array([_UNSOLVABLE])
    keys[0], parents[0], costs[0], bounds[0] = pack_state(boxes, player), -1, 0, rank
    table[find_slot(table, keys, keys[0])] = 0
    _link(first, before, after, rank, 0)
    num_states = 1
    while True:
        while rank <= most_moves and first[rank] < 0:
            rank += 1
        if rank > most_moves:
            return np.array([_UNSOLVABLE])
        state = first[rank]
        _unlink(first, before, after, rank, state)
        is_closed[state] = True
        if bounds[state] == 0:
            break
        key = keys[state]
        for number in range(num_boxes - 1, -1, -1):
            now[number] = key & (MOST_CELLS - 1)
            key >>= _BITS
            is_taken[now[number]] = True
        measure_walks(is_taken, key, offsets, steps, queue)
        for number in range(num_boxes):
            box = now[number]
            for offset in offsets:
                to = box + offset
                if steps[box - offset] < 0 or is_taken[to] or is_dead[to]:
                    continue
                cost = costs[state] + steps[box - offset] + 1
                moved[:] = now
                moved[number] = to
                key = pack_state(moved, box)
                slot = find_slot(table, keys, key)
                child = table[slot]
                if child < 0:
                    if num_states == most_states:
                        return np.array([_CAPPED])
                    child = num_states
                    num_states += 1
                    table[slot], keys[child] = child, key
                    bounds[child] = _match(pushes, moved, best)
                    is_closed[child] = bounds[child] >= FAR or is_frozen(walls, is_dead, is_goal, moved, offsets)
                    costs[child] = FAR
                if is_closed[child] or cost >= costs[child] or cost + bounds[child] > most_moves:
                    continue
                if costs[child] < FAR:
                    _unlink(first, before, after, costs[child] + bounds[child], child)
                costs[child], parents[child] = cost, state
                _link(first, before, after, cost + bounds[child], child)
        for box in now:
            is_taken[box] = False
    way, length = np.empty(most_moves + 1, dtype=np.int64), 0
    while state >= 0:
        way[length] = keys[state]
        length += 1
        state = parents[state]
    return way[:length]


def _spell_moves(
    walls: NDArray[np.bool_], keys: NDArray[np.int64], num_boxes: int, offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the moves through packed states; of walks equally short, the one that goes up, down, left first."""
    moves: list[int] = []
    steps, queue = np.empty(walls.size, dtype=np.int64), np.empty(walls.size, dtype=np.int64)
    states = [[(int(key) >> (_BITS * place)) % MOST_CELLS for place in range(num_boxes + 1)] for key in keys]
    for (*boxes, player), (*moved, _) in pairwise(states):
        (box,), (to,) = set(boxes) - set(moved), set(moved) - set(boxes)
        is_taken = walls.copy()
        is_taken[boxes] = True
        measure_walks(is_taken, 2 * box - to, offsets, steps, queue)
        while steps[player] > 0:
            direction = int(np.flatnonzero(steps[player + offsets] == steps[player] - 1)[0])
            moves.append(direction)
            player += int(offsets[direction])
        moves.append(offsets.tolist().index(to - box))
    return np.array(moves, dtype=np.int64)
