from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Tour = NDArray[np.int64]


def check_tour(tour: Sequence[int] | NDArray[np.integer], num_nodes: int) -> Tour:
    """Return a tour as an array, or say what is wrong with it.

    Args:
        tour: Order in which the nodes are visited; the way back to the first is understood.
        num_nodes: Number of nodes of the instance.

    Raises:
        ValueError: If it does not visit every node ``0..num_nodes - 1`` exactly once.
    """
    order = np.asarray(tour, dtype=np.int64)
    if order.shape != (num_nodes,):
        raise ValueError(f"a tour of shape {order.shape}; expected one visit to each of {num_nodes} nodes")
    if not np.array_equal(np.sort(order), np.arange(num_nodes)):
        missing = sorted(set(range(num_nodes)) - set(order.tolist()))
        raise ValueError(f"a tour that leaves out {missing[:10]}; expected one visit to each of {num_nodes} nodes")
    return order


def tour_length(distances: NDArray[np.int64], tour: Sequence[int] | NDArray[np.integer]) -> int:
    """Return the length of a closed tour, the way back included, in the unit of ``distances``."""
    order = check_tour(tour, len(distances))
    return int(distances[order, np.roll(order, -1)].sum())


def edges_of(tour: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Return the edges u < v of a closed tour."""
    return {(min(u, v), max(u, v)) for u, v in zip(tour.tolist(), np.roll(tour, -1).tolist(), strict=True)}


def turn_tour(tour: Sequence[int] | NDArray[np.integer], start: int, *, backwards: bool = False) -> Tour:
    """Return the same closed tour from another start, and in the other direction if asked."""
    order = np.asarray(tour, dtype=np.int64)
    if backwards:
        order = order[::-1]
    return np.roll(order, -int(np.flatnonzero(order == start)[0]))


def nearest_neighbour_tour(distances: NDArray[np.int64], start: int = 0) -> Tour:
    """Go to the nearest unvisited node each time; among equally near ones to that of the smallest number."""
    unvisited = np.ones(len(distances), dtype=bool)
    order = [start]
    for _ in range(len(distances) - 1):
        unvisited[order[-1]] = False
        order.append(int(np.where(unvisited, distances[order[-1]], np.iinfo(np.int64).max).argmin()))
    return np.array(order, dtype=np.int64)
