from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.tsp.exact.cuts import MOST_AT_ONCE, VIOLATION, Cut, subtour


def find_subtours(num_nodes: int, u: NDArray[np.int64], v: NDArray[np.int64], x: NDArray[np.float64]) -> list[Cut]:
    """Find sets of nodes that a point enters and leaves less than twice.

    Pairs of nodes that no small cut need part are contracted first; then the minimum cut is found, and every small one
    that the search comes by is taken too. So when there is a violated set, one is found.

    Args:
        num_nodes: Number of nodes.
        u: One end of each edge of the point's support, shape (edges,).
        v: The other end.
        x: The edges' values, shape (edges,).

    Returns:
        Violated inequalities, the most violated first, the smaller set first among equals.

    Source:
        Padberg and Rinaldi, "An efficient algorithm for the minimum capacity cut problem", 1990; Stoer and Wagner, "A
        simple min-cut algorithm", 1997.
    """
    label, num_labels = label_components(num_nodes, u, v)
    if num_labels > 1:
        return [subtour(np.flatnonzero(label == part), num_nodes) for part in range(num_labels)]
    members, starts, crossed = _small_cuts(num_nodes, u, v, x, 2.0 - VIOLATION)
    sizes = np.diff(starts)
    order = np.lexsort((np.minimum(sizes, num_nodes - sizes), np.round(crossed, 6)))[:MOST_AT_ONCE]
    return [subtour(members[starts[row] : starts[row + 1]], num_nodes) for row in order]


@njit(cache=True)
def label_components(num_nodes: int, u: NDArray[np.int64], v: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return the component of each node in the graph of some edges, numbered by their smallest nodes, and how many."""
    parent = np.arange(num_nodes)
    for edge in range(len(u)):
        a, b = find_root(parent, u[edge]), find_root(parent, v[edge])
        parent[max(a, b)] = min(a, b)
    label, count = np.empty(num_nodes, np.int64), 0
    for node in range(num_nodes):
        root = find_root(parent, node)
        if root == node:
            label[node] = count
            count += 1
        else:
            label[node] = label[root]
    return label, count


@njit(cache=True)
def find_root(parent, node):
    """Return the node that stands for a node's component, and shorten the way to it."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True)
def _small_cuts(num_nodes, u, v, x, below):
    """Return sets that are crossed less than a value: all their nodes in one array, where each starts, its crossings.

    Two nodes are contracted when their edges carry half of what either is crossed by: a cut between them could be moved
    to beside that one.
    """
    weight = np.zeros((num_nodes, num_nodes))
    for edge in range(len(u)):
        weight[u[edge], v[edge]] += x[edge]
        weight[v[edge], u[edge]] += x[edge]
    group, left, num_left = np.arange(num_nodes), np.arange(num_nodes), num_nodes
    members, starts = np.empty(num_nodes * num_nodes, np.int64), np.zeros(num_nodes + 1, np.int64)
    crossed, count = np.empty(num_nodes), 0
    degree, position = weight.sum(axis=1), 0
    while position < num_left and num_left > 2:
        a, gone = left[position], -1
        for place in range(num_left):
            b = left[place]
            if b != a and weight[a, b] >= 0.5 * min(degree[a], degree[b]) - 1e-9:
                gone = place
                break
        if gone < 0:
            position += 1
            continue
        degree[a] += degree[left[gone]] - 2.0 * weight[a, left[gone]]
        _merge(weight, group, left, num_left, gone, a)
        num_left -= 1
        if position == num_left:
            position = gone
        if degree[a] < below:
            count = _keep(group, a, members, starts, crossed, count, degree[a])
    attached = np.empty(num_nodes)
    while num_left > 1:
        attached[:] = 0.0
        waiting, num_waiting = left[:num_left].copy(), num_left
        last, before = 0, 0
        while num_waiting > 0:
            at = 0
            for place in range(1, num_waiting):
                if attached[waiting[place]] > attached[waiting[at]]:
                    at = place
            before, last = last, waiting[at]
            num_waiting -= 1
            waiting[at] = waiting[num_waiting]
            for place in range(num_waiting):
                attached[waiting[place]] += weight[last, waiting[place]]
        if attached[last] < below:
            count = _keep(group, last, members, starts, crossed, count, attached[last])
        for place in range(num_left):
            if left[place] == last:
                _merge(weight, group, left, num_left, place, before)
                break
        num_left -= 1
    return members[: starts[count]], starts[: count + 1], crossed[:count]


@njit(cache=True)
def _merge(weight, group, left, num_left, place, into):
    """Contract the node at a place of those left into another one."""
    gone = left[place]
    for other in left[:num_left]:
        weight[into, other] += weight[gone, other]
        weight[other, into] = weight[into, other]
    weight[into, into] = 0.0
    left[place] = left[num_left - 1]
    for node in range(len(group)):
        if group[node] == gone:
            group[node] = into


@njit(cache=True)
def _keep(group, of, members, starts, crossed, count, border):
    end = starts[count]
    for node in range(len(group)):
        if group[node] == of:
            members[end] = node
            end += 1
    starts[count + 1] = end
    crossed[count] = border
    return count + 1
