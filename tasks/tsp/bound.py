from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

ASCENT_ITERATIONS = 1000


def raise_bound(distances: NDArray[np.int64], iterations: int = ASCENT_ITERATIONS) -> tuple[NDArray[np.int64], int]:
    """Find potentials under which the shortest 1-tree is a long one: a lower bound for every tour.

    A 1-tree is a spanning tree and one more edge; every tour is one. A potential at each node shifts the length of all
    tours by the same amount, and that of other 1-trees by how far their degrees are from 2. The ascent moves each
    potential along its node's degree minus 2, with steps that shrink to nothing. Potentials are whole numbers, so that
    anyone can check the bound exactly.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes), at least 3 nodes.
        iterations: Steps of the ascent; a count, not a time, so that equal inputs give equal bounds.

    Returns:
        The potentials, shape (nodes,), and the bound in the unit of ``distances``; it holds for the complete graph.

    Source:
        Held and Karp, "The traveling-salesman problem and minimum spanning trees: part II", 1971; step lengths of
        Volgenant and Jonker, "A branch and bound algorithm for the symmetric traveling salesman problem based on the
        1-tree relaxation", 1982.
    """
    potentials, bound = _ascend(np.ascontiguousarray(distances, dtype=np.int64), iterations)
    return potentials, int(bound)


def alpha_candidates(
    distances: NDArray[np.int64], potentials: NDArray[np.int64], num_candidates: int
) -> NDArray[np.int64]:
    """Return for every node the others that a short tour most likely goes to.

    They are those with the smallest alpha: how much longer the shortest 1-tree gets when it must use the edge.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes).
        potentials: Potentials of ``raise_bound``, shape (nodes,).
        num_candidates: Candidates a node, at most nodes - 1.

    Returns:
        Nodes, nearest first, shape (nodes, num_candidates).

    Source:
        Helsgaun, "An effective implementation of the Lin-Kernighan traveling salesman heuristic", 2000, section 4.1.
    """
    num_candidates = min(num_candidates, len(distances) - 1)
    alpha = one_tree_excess(distances, potentials)
    np.fill_diagonal(alpha, np.iinfo(np.int64).max)
    chosen = np.lexsort((distances, alpha), axis=1)[:, :num_candidates]
    order = np.argsort(np.take_along_axis(distances, chosen, axis=1), axis=1, kind="stable")
    return np.ascontiguousarray(np.take_along_axis(chosen, order, axis=1))


def one_tree_excess(distances: NDArray[np.int64], potentials: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how much longer the shortest 1-tree gets when it must use each edge: its alpha, shape (nodes, nodes)."""
    return _alpha(np.ascontiguousarray(distances, dtype=np.int64), potentials)


@njit(cache=True)
def _grow_one_tree(distances, potentials, parent, order, key, degree):
    """Fill in the shortest 1-tree by Prim; return its length less the potentials, its extra edge's ends and length.

    The extra edge is the second shortest of a leaf of the spanning tree, of the leaf where that is longest.
    """
    n = len(potentials)
    left = np.arange(1, n)
    degree[:] = 0
    order[0] = 0
    parent[0] = -1
    key[0] = 0
    for v in range(1, n):
        key[v] = distances[0, v] + potentials[0] + potentials[v]
        parent[v] = 0
    total = 0
    num_left = n - 1
    for step in range(1, n):
        at = 0
        for k in range(1, num_left):
            if key[left[k]] < key[left[at]]:
                at = k
        u = left[at]
        num_left -= 1
        left[at] = left[num_left]
        order[step] = u
        total += key[u]
        degree[u] += 1
        degree[parent[u]] += 1
        row = distances[u]
        shift = potentials[u]
        for k in range(num_left):
            v = left[k]
            weight = row[v] + shift + potentials[v]
            if weight < key[v]:
                key[v] = weight
                parent[v] = u
    longest, leaf, far = np.int64(-(2**62)), 0, 0
    for u in range(n):
        if degree[u] == 1:
            only = parent[u]
            if u == 0:
                only = order[1]
            best, best_v = np.int64(2**62), 0
            for v in range(n):
                weight = distances[u, v] + potentials[u] + potentials[v]
                if v != u and v != only and weight < best:
                    best, best_v = weight, v
            if best > longest:
                longest, leaf, far = best, u, best_v
    degree[leaf] += 1
    degree[far] += 1
    total += longest
    for v in range(n):
        total -= 2 * potentials[v]
    return total, leaf, longest


@njit(cache=True)
def _ascend(distances, iterations):
    n = len(distances)
    potentials = np.zeros(n, dtype=np.int64)
    parent, order, key = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    degree, last = np.empty(n, np.int64), np.full(n, 2, dtype=np.int64)
    best, _, _ = _grow_one_tree(distances, potentials, parent, order, key, degree)
    best_potentials = potentials.copy()
    first_step = best / (2.0 * n)
    exact = np.zeros(n)
    for k in range(1, iterations + 1):
        left = 1.0 - k / (iterations + 1.0)
        step = first_step * left * left
        settled = True
        for v in range(n):
            settled = settled and degree[v] == 2
            exact[v] += step * (0.7 * (degree[v] - 2) + 0.3 * (last[v] - 2))
            last[v] = degree[v]
            potentials[v] = np.int64(np.rint(exact[v]))
        if settled:
            break
        bound, _, _ = _grow_one_tree(distances, potentials, parent, order, key, degree)
        if bound > best:
            best = bound
            best_potentials[:] = potentials
    return best_potentials, best


@njit(cache=True)
def _alpha(distances, potentials):
    n = len(distances)
    parent, order, key = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    degree = np.empty(n, np.int64)
    _, leaf, longest = _grow_one_tree(distances, potentials, parent, order, key, degree)
    beta = np.zeros((n, n), dtype=np.int64)
    for i in range(1, n):
        v = order[i]
        for j in range(i):
            u = order[j]
            if u == parent[v]:
                beta[u, v] = key[v]
            else:
                beta[u, v] = max(beta[u, parent[v]], key[v])
            beta[v, u] = beta[u, v]
    alpha = np.empty((n, n), dtype=np.int64)
    for u in range(n):
        for v in range(n):
            weight = distances[u, v] + potentials[u] + potentials[v]
            if u == leaf or v == leaf:
                alpha[u, v] = max(weight - longest, 0)
            else:
                alpha[u, v] = weight - beta[u, v]
    return alpha
