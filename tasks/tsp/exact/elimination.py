from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.tsp.bound import one_tree_excess
from tasks.tsp.exact.relaxation import FREE, IN, OUT, Relaxation
from tasks.tsp.exact.subtours import find_root
from tasks.tsp.tour import Tour

_MOST_CANDIDATES = 10


def surviving_edges(
    distances: NDArray[np.int64], potentials: NDArray[np.int64], bound: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges that a tour shorter than a known one may use: those the 1-tree bound does not exclude.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes).
        potentials: Potentials of the nodes, shape (nodes,).
        bound: The 1-tree's bound under them.
        length: Length of the known tour.

    Returns:
        The ends u < v of the edges, each of shape (edges,).
    """
    u, v = np.nonzero(np.triu(bound + one_tree_excess(distances, potentials) < length, 1))
    return u.astype(np.int64), v.astype(np.int64)


def list_candidates(num_nodes: int, relaxation: Relaxation, state: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return for every node those that it may still be joined to, nearest first, shape (nodes, candidates).

    Where there are fewer, the last one is repeated.
    """
    left = state != OUT
    near: list[list[tuple[int, int]]] = [[] for _ in range(num_nodes)]
    for a, b, length in zip(
        relaxation.u[left].tolist(), relaxation.v[left].tolist(), relaxation.lengths[left].tolist(), strict=True
    ):
        near[a].append((length, b))
        near[b].append((length, a))
    width = min(_MOST_CANDIDATES, max(map(len, near)))
    ranked = [[node for _, node in sorted(row)[:width]] for row in near]
    return np.array([row + row[-1:] * (width - len(row)) for row in ranked])


def read_tour(num_nodes: int, u: NDArray[np.int64], v: NDArray[np.int64]) -> Tour | None:
    """Return the tour that edges form, starting at node 0; None if they form none."""
    if len(u) != num_nodes or (np.bincount(np.concatenate([u, v]), minlength=num_nodes) != 2).any():
        return None
    neighbours: list[list[int]] = [[] for _ in range(num_nodes)]
    for a, b in zip(u.tolist(), v.tolist(), strict=True):
        neighbours[a].append(b)
        neighbours[b].append(a)
    tour, before, node = [0], 0, neighbours[0][0]
    while node != 0:
        tour.append(node)
        one, other = neighbours[node]
        before, node = node, other if one == before else one
    return np.array(tour) if len(tour) == num_nodes else None


@njit(cache=True)
def follow_decisions(num_nodes: int, u: NDArray[np.int64], v: NDArray[np.int64], state: NDArray[np.int8]) -> bool:
    """Decide of the edges what earlier decisions leave no choice in: two edges a node, and no round that is too short.

    Args:
        num_nodes: Number of nodes.
        u: One end of each edge, shape (edges,).
        v: The other end.
        state: What is decided of each edge, shape (edges,); written in place.

    Returns:
        Whether a tour may be left; False when there is none.
    """
    num_in, num_free = np.zeros(num_nodes, np.int64), np.zeros(num_nodes, np.int64)
    parent = np.arange(num_nodes)
    num_joined, num_chosen = 0, 0
    for edge in range(len(u)):
        a, b = u[edge], v[edge]
        if state[edge] == FREE:
            num_free[a] += 1
            num_free[b] += 1
        elif state[edge] == IN:
            num_in[a] += 1
            num_in[b] += 1
            num_chosen += 1
            num_joined += _join(parent, a, b)
    changed = True
    while changed:
        changed = False
        if num_chosen > num_joined and num_chosen < num_nodes:
            return False
        for node in range(num_nodes):
            if num_in[node] > 2 or num_in[node] + num_free[node] < 2:
                return False
        for edge in range(len(u)):
            if state[edge] != FREE:
                continue
            a, b = u[edge], v[edge]
            is_last = num_chosen == num_nodes - 1
            if num_in[a] == 2 or num_in[b] == 2 or (not is_last and find_root(parent, a) == find_root(parent, b)):
                state[edge] = OUT
            elif num_in[a] + num_free[a] == 2 or num_in[b] + num_free[b] == 2:
                state[edge] = IN
                num_in[a] += 1
                num_in[b] += 1
                num_chosen += 1
                num_joined += _join(parent, a, b)
            else:
                continue
            num_free[a] -= 1
            num_free[b] -= 1
            changed = True
    return True


@njit(cache=True)
def _join(parent, a, b):
    a, b = find_root(parent, a), find_root(parent, b)
    parent[a] = b
    return a != b
