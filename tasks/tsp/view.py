from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

NUM_SHOWN = 8
"""Unvisited nodes that an observation shows, nearest first."""

NUM_SECTORS = 8

NUMBERS_A_NODE = 6

VIEW_SIZE = NUMBERS_A_NODE * NUM_SHOWN + 4 + NUM_SECTORS

_LOCAL_SHOWN = 8  # nearest nodes whose mean distance is the unit of the shown ones


@njit(cache=True)
def rank_unvisited(distances: NDArray[np.int64], visited: NDArray[np.bool_], current: int) -> NDArray[np.int64]:
    """Return the unvisited nodes from the nearest to the farthest of ``current``, equal distances by node number."""
    left = np.flatnonzero(~visited)
    return left[np.argsort(distances[current][left], kind="mergesort")]


@njit(cache=True)
def length_between(points: NDArray[np.float64], first: int, second: int) -> float:
    """Return the distance of two nodes in the plane."""
    return math.hypot(points[second, 0] - points[first, 0], points[second, 1] - points[first, 1])


@njit(cache=True)
def hang_branches(
    points: NDArray[np.float64], ranked: NDArray[np.int64], current: int, start: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Hang the shortest spanning tree of the unvisited nodes and the start from the current node (Prim).

    Args:
        points: Nodes in the plane, shape (nodes, 2).
        ranked: The unvisited nodes; place k of the results is ``ranked[k - 1]``, place 0 the current node, and the
            last the start, unless that is the current node.
        current: The node that the walker is at.
        start: The node that the tour returns to.

    Returns:
        Place of each place's parent; the place from which its branch hangs by the current node; unvisited nodes in the
        branch that begins at each place; and the branch that leads to the start, -1 where the walker is at it.
    """
    nodes = np.empty(len(ranked) + 2, np.int64)
    nodes[0], nodes[1:-1], nodes[-1] = current, ranked, start
    size = len(nodes) if start != current else len(nodes) - 1
    left = np.arange(1, size)
    parent, branch, weight = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    key = np.empty(size)
    for place in range(size):
        key[place] = _apart(points, nodes[place], current)
    for num_left in range(size - 1, 0, -1):
        at = 0
        for k in range(1, num_left):
            if key[left[k]] < key[left[at]]:
                at = k
        place = left[at]
        left[at] = left[num_left - 1]
        branch[place] = place if parent[place] == 0 else branch[parent[place]]
        if place <= len(ranked):
            weight[branch[place]] += 1
        for k in range(num_left - 1):
            apart = _apart(points, nodes[place], nodes[left[k]])
            if apart < key[left[k]]:
                key[left[k]], parent[left[k]] = apart, place
    return parent, branch, weight, branch[size - 1] if size == len(nodes) else -1


@njit(cache=True)
def _apart(points, u, v):
    return math.hypot(points[u, 0] - points[v, 0], points[u, 1] - points[v, 1])


@njit(cache=True)
def describe_view(
    points: NDArray[np.float64],
    ranked: NDArray[np.int64],
    current: int,
    start: int,
    spacing: float,
    view: NDArray[np.float32],
) -> None:
    """Write what a walker at ``current`` sees, in a frame of its own.

    The frame is turned so that the nearest unvisited node lies at angle 0, and mirrored so that the second lies to its
    left; so the view is the same under every symmetry of the plane. Lengths r are squashed to r / (r + unit). The unit
    of the shown nodes is their mean distance (of the first 8), that of the way to the start is four spacings.

    Args:
        points: Nodes in the plane, shape (nodes, 2).
        ranked: The unvisited nodes, nearest first; at least one.
        current: The node that the walker is at.
        start: The node that the tour returns to.
        spacing: A length typical of the instance, in the unit of ``points``.
        view: Written in place, shape (``VIEW_SIZE``,), in [-1, 1]: of each shown node its place (x, y), its distance
            to the unvisited node nearest to it (or to the start, if there is none), and three numbers of its place in
            ``hang_branches``: whether it hangs directly from here, its branch's share of the nodes left, and whether
            the branch leads to the start; zeros where fewer are left. Then the start's place (x, y), the share of
            nodes left (-1 to 1), the shown nodes' unit against the spacing, and the square roots of the shares of
            nodes left in each sector of the plane.
    """
    view[:] = 0.0
    num_left = len(ranked)
    num_shown = min(num_left, NUM_SHOWN)
    here_x, here_y = points[current]
    first_x, first_y = points[ranked[0], 0] - here_x, points[ranked[0], 1] - here_y
    angle = math.atan2(first_y, first_x)
    cosine, sine, flip = math.cos(angle), math.sin(angle), 1.0
    if num_left > 1:
        second_x, second_y = points[ranked[1], 0] - here_x, points[ranked[1], 1] - here_y
        if first_x * second_y - first_y * second_x < 0:
            flip = -1.0
    unit = 0.0
    for rank in range(min(num_left, _LOCAL_SHOWN)):
        unit += length_between(points, current, ranked[rank])
    unit = max(unit / min(num_left, _LOCAL_SHOWN), 1e-9)
    parent, branch, weight, home = hang_branches(points, ranked, current, start)
    for rank in range(num_shown):
        node = ranked[rank]
        x, y = points[node, 0] - here_x, points[node, 1] - here_y
        length = math.hypot(x, y)
        factor = 1.0 / (length + unit)
        at = NUMBERS_A_NODE * rank
        view[at] = (x * cosine + y * sine) * factor
        view[at + 1] = (y * cosine - x * sine) * flip * factor
        nearest = math.inf
        for other in ranked:
            if other != node:
                nearest = min(nearest, _apart(points, other, node))
        if num_left == 1:
            nearest = length_between(points, node, start)
        view[at + 2] = nearest / (nearest + unit)
        view[at + 3] = 1.0 if parent[rank + 1] == 0 else 0.0
        view[at + 4] = weight[branch[rank + 1]] / num_left
        view[at + 5] = 1.0 if branch[rank + 1] == home else 0.0
    x, y = points[start, 0] - here_x, points[start, 1] - here_y
    factor = 1.0 / (math.hypot(x, y) + 4 * spacing)
    tail = NUMBERS_A_NODE * NUM_SHOWN
    view[tail] = (x * cosine + y * sine) * factor
    view[tail + 1] = (y * cosine - x * sine) * flip * factor
    view[tail + 2] = 2.0 * num_left / len(points) - 1.0
    view[tail + 3] = math.tanh(math.log(unit / spacing))
    for node in ranked:
        x, y = points[node, 0] - here_x, points[node, 1] - here_y
        turned = math.atan2((y * cosine - x * sine) * flip, x * cosine + y * sine)
        sector = math.floor(turned / (2 * math.pi) * NUM_SECTORS + 0.5) % NUM_SECTORS
        view[tail + 4 + sector] += 1.0
    for sector in range(NUM_SECTORS):
        view[tail + 4 + sector] = math.sqrt(view[tail + 4 + sector] / len(points))


@njit(cache=True)
def typical_spacing(points: NDArray[np.float64]) -> float:
    """Return twice the mean distance of a node to its nearest one, in the unit of ``points``; never 0."""
    total = 0.0
    for node in range(len(points)):
        nearest = math.inf
        for other in range(len(points)):
            if other != node:
                nearest = min(nearest, _apart(points, other, node))
        total += nearest
    return max(2.0 * total / len(points), 1e-9)
