from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.tsp.tour import Tour, check_tour, turn_tour

LONGEST_SEGMENT = 3
"""Most nodes that Or-opt moves at once."""


def improve_tour(
    distances: NDArray[np.int64],
    tour: NDArray[np.int64],
    candidates: NDArray[np.int64],
    *,
    kicks: int,
    restarts: int,
    seed: int,
) -> Tour:
    """Shorten a closed tour by iterated local search: 2-opt and Or-opt over candidates, double-bridge kicks.

    After a kick and the descent that follows it, a tour that is longer by less than a random threshold is kept; the
    threshold shrinks to nothing over a restart. All arithmetic is in whole numbers.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes).
        tour: A permutation of the nodes, shape (nodes,).
        candidates: For every node those that it may be joined to, nearest first, shape (nodes, candidates).
        kicks: Kicks of a restart; a count, not a time, so that equal inputs give equal tours.
        restarts: Times that the search begins again at ``tour`` with other kicks.
        seed: Seed of the kicks.

    Returns:
        The best tour found, shape (nodes,), starting at node 0.

    Raises:
        ValueError: If ``tour`` is not a permutation of the nodes.

    Source:
        Johnson and McGeoch, "The traveling salesman problem: a case study in local optimization", 1997; segment
        insertion of Or, 1976; double bridge of Martin, Otto and Felten, 1991.
    """
    order = check_tour(tour, len(distances))
    if len(order) > 3:
        matrix = np.ascontiguousarray(distances, dtype=np.int64)
        order = _search(matrix, order, candidates, kicks, restarts, np.uint64(seed))
    return turn_tour(order, 0)


@njit(cache=True)
def _random(state, below):
    """Return a whole number in ``0..below - 1`` and step the state on (xorshift64*; Vigna, 2016)."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % below


@njit(cache=True)
def _reverse(tour, position, first, last):
    """Reverse the path from position ``first`` on to ``last``, or, to the same effect, the rest if that is shorter."""
    n = len(tour)
    inside = (last - first) % n + 1
    if 2 * inside > n:
        first, last = (last + 1) % n, (first - 1) % n
        inside = n - inside
    for _ in range(inside // 2):
        u, v = tour[first], tour[last]
        tour[first], tour[last] = v, u
        position[v], position[u] = first, last
        first = first + 1 if first + 1 < n else 0
        last = last - 1 if last > 0 else n - 1


@njit(cache=True)
def _move_segment(tour, position, first, size, after, turned, segment):
    """Move ``size`` nodes from position ``first`` on to behind position ``after``, shifting what lies between."""
    n = len(tour)
    for k in range(size):
        segment[k] = tour[(first + k) % n]
    ahead = (after - first - size) % n + 1
    if 2 * ahead <= n - size:
        for k in range(ahead):
            node, to = tour[(first + size + k) % n], (first + k) % n
            tour[to], position[node] = node, to
        start = first + ahead
    else:
        for k in range(n - size - ahead):
            node, to = tour[(first - 1 - k) % n], (first - 1 - k + size) % n
            tour[to], position[node] = node, to
        start = after + 1
    for k in range(size):
        node, to = segment[size - 1 - k if turned else k], (start + k) % n
        tour[to], position[node] = node, to


@njit(cache=True)
def _try_two_opt(distances, tour, position, a, candidates, ends):
    """Replace an edge at ``a`` and another one by two shorter ones; return the gain, 0 if there is none."""
    n = len(tour)
    for side in (1, -1):
        at = position[a]
        b = tour[(at + side) % n]
        edge = distances[a, b]
        for c in candidates[a]:
            saved = edge - distances[a, c]
            if saved <= 0:
                break
            to = position[c]
            e = tour[(to + side) % n]
            gain = saved + distances[c, e] - distances[b, e]
            if gain > 0:
                if side == 1:
                    _reverse(tour, position, (at + 1) % n, to)
                else:
                    _reverse(tour, position, to, (at - 1) % n)
                ends[0], ends[1], ends[2], ends[3] = a, b, c, e
                return gain
    return 0


@njit(cache=True)
def _try_or_opt(distances, tour, position, a, candidates, segment, ends):
    """Move a segment that ends in ``a`` next to one of its candidates; return the gain, 0 if there is none."""
    n = len(tour)
    at = position[a]
    for away in (1, -1):
        p = tour[(at - away) % n]
        for size in range(1, LONGEST_SEGMENT + 1):
            if size + 3 > n:
                break
            other_end = tour[(at + away * (size - 1)) % n]
            q = tour[(at + away * size) % n]
            freed = distances[p, a] + distances[other_end, q] - distances[p, q]
            for c in candidates[a]:
                if freed - distances[a, c] <= 0:
                    break
                if (position[c] - at) * away % n < size:
                    continue
                for side in (1, -1):
                    e = tour[(position[c] + side) % n]
                    if (position[e] - at) * away % n < size:
                        continue
                    gain = freed - distances[a, c] - distances[other_end, e] + distances[c, e]
                    if gain > 0:
                        first = at if away == 1 else (at - size + 1) % n
                        after = position[c] if side == 1 else position[e]
                        turned = away != side
                        _move_segment(tour, position, first, size, after, turned, segment)
                        ends[0], ends[1], ends[2], ends[3], ends[4], ends[5] = a, other_end, p, q, c, e
                        return gain
    return 0


@njit(cache=True)
def _descend(distances, tour, position, candidates, queue, queued, num_queued, segment, ends):
    """Improve around the queued nodes until nothing helps; return the total gain."""
    n = len(tour)
    head, total = 0, 0
    while num_queued > 0:
        a = queue[head]
        head = head + 1 if head + 1 < n else 0
        num_queued -= 1
        queued[a] = False
        while True:
            num_ends = 4
            gain = _try_two_opt(distances, tour, position, a, candidates, ends)
            if gain == 0:
                num_ends = 6
                gain = _try_or_opt(distances, tour, position, a, candidates, segment, ends)
            if gain == 0:
                break
            total += gain
            for k in range(num_ends):
                node = ends[k]
                if not queued[node] and node != a:
                    queued[node] = True
                    queue[(head + num_queued) % n] = node
                    num_queued += 1
    return total


@njit(cache=True)
def _kick(distances, tour, position, state, buffer, queue, queued):
    """Swap two short neighbouring segments (a double bridge); queue their ends; return the added length, count."""
    n = len(tour)
    longest = max(1, min(50, (n - 2) // 2))
    first = _random(state, n)
    size_a = 1 + _random(state, longest)
    size_b = 1 + _random(state, longest)
    p, q = tour[(first - 1) % n], tour[(first + size_a + size_b) % n]
    a1, a2 = tour[first], tour[(first + size_a - 1) % n]
    b1, b2 = tour[(first + size_a) % n], tour[(first + size_a + size_b - 1) % n]
    for k in range(size_a):
        buffer[k] = tour[(first + k) % n]
    for k in range(size_b):
        node, to = tour[(first + size_a + k) % n], (first + k) % n
        tour[to], position[node] = node, to
    for k in range(size_a):
        node, to = buffer[k], (first + size_b + k) % n
        tour[to], position[node] = node, to
    num_queued = 0
    for node in (p, a1, a2, b1, b2, q):
        if not queued[node]:
            queued[node] = True
            queue[num_queued] = node
            num_queued += 1
    removed = distances[p, a1] + distances[a2, b1] + distances[b2, q]
    return distances[p, b1] + distances[b2, a1] + distances[a2, q] - removed, num_queued


@njit(cache=True)
def _search(distances, start, candidates, kicks, restarts, seed):
    n = len(start)
    state = np.empty(1, dtype=np.uint64)
    state[0] = seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0xD1B54A32D192ED03)
    tour, position = start.copy(), np.empty(n, np.int64)
    kept, kept_position = np.empty(n, np.int64), np.empty(n, np.int64)
    queue, queued = np.empty(n, np.int64), np.zeros(n, np.bool_)
    segment, ends, buffer = np.empty(LONGEST_SEGMENT, np.int64), np.empty(6, np.int64), np.empty(n, np.int64)
    for k in range(n):
        position[start[k]] = k
        queue[k] = start[k]
        queued[start[k]] = True
    length = 0
    for k in range(n):
        length += distances[start[k], start[(k + 1) % n]]
    length -= _descend(distances, tour, position, candidates, queue, queued, n, segment, ends)
    descended, descended_position, descended_length = tour.copy(), position.copy(), length
    best, best_length = tour.copy(), length
    for _ in range(restarts):
        tour[:], position[:], length = descended, descended_position, descended_length
        for kick in range(kicks):
            kept[:], kept_position[:] = tour, position
            added, num_queued = _kick(distances, tour, position, state, buffer, queue, queued)
            change = added - _descend(distances, tour, position, candidates, queue, queued, num_queued, segment, ends)
            hottest = best_length // (n * 4) * (kicks - kick) // kicks
            if change <= hottest * _random(state, 1024) // 1024:
                length += change
                if length < best_length:
                    best_length = length
                    best[:] = tour
            else:
                tour[:], position[:] = kept, kept_position
    return best
