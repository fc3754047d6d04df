from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VIOLATION = 0.02
"""By how much a point must break an inequality to be worth a row of the linear program."""

MOST_AT_ONCE = 20
"""Inequalities of a kind that are worth adding at once."""

Sets = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class Cut:
    """An inequality that every tour obeys: it crosses the borders of some sets of nodes so often at least.

    One set is crossed twice (a subtour inequality). A handle and an odd number k >= 3 of disjoint teeth, each with
    nodes inside and outside the handle, are crossed 3k + 1 times together (a comb; with teeth of two nodes a blossom).

    Args:
        sets: The sets, the handle of a comb first; node numbers in ascending order.
        at_least: Crossings of all sets together.
    """

    sets: Sets
    at_least: int

    def insides(self, num_nodes: int) -> tuple[list[NDArray[np.int64]], int]:
        """Return the same inequality as one on the edges inside of sets, for points with two edges at each node.

        Returns:
            The smaller side of each border, and the number of edges that tours have inside of them, together, at most.
        """
        sides = [_smaller_side(nodes, num_nodes) for nodes in self.sets]
        return sides, sum(map(len, sides)) - self.at_least // 2

    def key(self, num_nodes: int) -> tuple[bytes, ...]:
        """Return what is equal for cuts that say the same, whichever side of a border they name."""
        sides = np.zeros((len(self.sets), num_nodes), dtype=bool)
        for row, nodes in enumerate(self.sets):
            sides[row, nodes] = True
        sides ^= sides[:, :1]
        return tuple(sorted(row.tobytes() for row in np.packbits(sides, axis=1)))


def _smaller_side(nodes: NDArray[np.int64], num_nodes: int) -> NDArray[np.int64]:
    return nodes if 2 * len(nodes) <= num_nodes else np.setdiff1d(np.arange(num_nodes), nodes)


def subtour(nodes: Iterable[int], num_nodes: int) -> Cut:
    """Return the inequality of a set of nodes and of the rest.

    Raises:
        ValueError: If the set or the rest is empty.
    """
    inside = np.array(sorted(nodes), dtype=np.int64)
    if not 0 < len(inside) < num_nodes:
        raise ValueError(f"a subtour of {len(inside)} nodes of {num_nodes}; expected some nodes, and not all")
    return Cut((inside,), 2)


def comb(handle: Iterable[int], teeth: Iterable[Iterable[int]]) -> Cut:
    """Return the inequality of a handle and its teeth.

    Raises:
        ValueError: If they form no comb, for which the inequality would be false.

    Source:
        Chvátal, "Edmonds polytopes and weakly Hamiltonian graphs", 1973; Grötschel and Padberg, "On the symmetric
        travelling salesman problem", 1979.
    """
    inside = frozenset(handle)
    claws = [frozenset(tooth) for tooth in teeth]
    if len(claws) < 3 or len(claws) % 2 == 0:
        raise ValueError(f"{len(claws)} teeth; a comb has an odd number of at least 3")
    if sum(map(len, claws)) != len(frozenset().union(*claws)):
        raise ValueError("the teeth of a comb are disjoint")
    if not all(claw & inside and claw - inside for claw in claws):
        raise ValueError("every tooth of a comb has nodes inside and outside its handle")
    arrays = tuple(np.array(sorted(nodes), dtype=np.int64) for nodes in (inside, *claws))
    return Cut(arrays, 3 * len(claws) + 1)
