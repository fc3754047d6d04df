from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.tsp.exact.cuts import MOST_AT_ONCE, VIOLATION, Cut, comb
from tasks.tsp.exact.subtours import label_components

_WHOLE = 1.0 - 1e-6
_THRESHOLDS = (1e-6, 0.1, 0.2, 0.3, 0.4)
_MOVES = 10
_FEW_TEETH = 0.5


def find_combs(
    num_nodes: int,
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    x: NDArray[np.float64],
    handles: Sequence[NDArray[np.int64]] = (),
    *,
    num_starts: int,
    largest_tooth: int,
) -> list[Cut]:
    """Find combs that a point breaks, by a local search over handles with teeth grown across their borders.

    A handle and disjoint teeth are broken where the point's crossings of the handle, and of each tooth less 3, together
    stay below 1; so teeth are wanted that are crossed hardly more than twice. From every edge across the border one is
    grown, node by node, and the best disjoint ones are taken in turn. Nodes are moved into and out of the handle as
    long as that brings the comb closer to being broken.

    Args:
        num_nodes: Number of nodes.
        u: One end of each edge of the point's support, shape (edges,).
        v: The other end.
        x: The edges' values, shape (edges,).
        handles: Handles to start from, beside components of the point's fractional edges and the stars of its nodes.
        num_starts: Handles that the search is begun from: those that are closest to being broken.
        largest_tooth: Nodes of a tooth at most; large ones are seldom needed, and take long to grow.

    Returns:
        Violated inequalities, the most violated first.

    Source:
        Components as first handles: Padberg and Hong, "On the symmetric travelling salesman problem: a computational
        study", 1980; with thresholds: Groetschel and Holland, "Solution of large-scale symmetric travelling salesman
        problems", 1991.
    """
    starts, neighbour, number = _adjacency(num_nodes, u, v)
    teeth = _grow_teeth(starts, neighbour, number, u, v, x, largest_tooth)
    graph = (starts, neighbour, number, x)
    masks = _mark(num_nodes, _first_handles(num_nodes, u, v, x, handles))
    order = np.lexsort((masks.sum(axis=1), np.round(_judge(graph, teeth, masks), 6)))[:num_starts]
    found: dict[tuple[bytes, ...], tuple[float, Cut]] = {}
    for inside in masks[order]:
        missing, members, ends = _improve_handle(graph, teeth, inside)
        if missing < -VIOLATION:
            chosen = [members[ends[row] : ends[row + 1]].tolist() for row in range(len(ends) - 1)]
            cut = comb(np.flatnonzero(inside).tolist(), chosen)
            found.setdefault(cut.key(num_nodes), (round(float(missing), 6), cut))
    return [cut for _, cut in sorted(found.values(), key=lambda pair: pair[0])[:MOST_AT_ONCE]]


def _first_handles(
    num_nodes: int,
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    x: NDArray[np.float64],
    more: Iterable[NDArray[np.int64]],
) -> list[NDArray[np.int64]]:
    ranges = {(lowest, highest) for lowest in _THRESHOLDS for highest in (_WHOLE, _WHOLE - lowest)}
    handles = list(more)
    for lowest, highest in sorted(ranges):
        kept = (x > lowest) & (x < highest)
        label, num_labels = label_components(num_nodes, u[kept], v[kept])
        handles += [np.flatnonzero(label == part) for part in range(num_labels)]
    stars: dict[int, list[int]] = {}
    is_fractional = x < _WHOLE
    for a, b in zip(u[is_fractional].tolist(), v[is_fractional].tolist(), strict=True):
        stars.setdefault(a, [a]).append(b)
        stars.setdefault(b, [b]).append(a)
    handles += [np.array(sorted(star)) for star in stars.values()]
    return list({handle.tobytes(): handle for handle in handles if 2 < len(handle) < num_nodes - 2}.values())


def _mark(num_nodes: int, handles: list[NDArray[np.int64]]) -> NDArray[np.bool_]:
    masks = np.zeros((len(handles), num_nodes), dtype=bool)
    for row, handle in enumerate(handles):
        masks[row, handle] = True
    return masks


@njit(cache=True)
def _adjacency(num_nodes, u, v):
    """Return where each node's edges start, the neighbours along them, and their numbers."""
    starts = np.zeros(num_nodes + 1, np.int64)
    for edge in range(len(u)):
        starts[u[edge] + 1] += 1
        starts[v[edge] + 1] += 1
    starts = np.cumsum(starts)
    filled = starts[:-1].copy()
    neighbour, number = np.empty(2 * len(u), np.int64), np.empty(2 * len(u), np.int64)
    for edge in range(len(u)):
        for a, b in ((u[edge], v[edge]), (v[edge], u[edge])):
            neighbour[filled[a]], number[filled[a]] = b, edge
            filled[a] += 1
    return starts, neighbour, number


@njit(cache=True)
def _grow_teeth(starts, neighbour, number, u, v, x, largest):
    """Grow a tooth from every edge: return its nodes, how many they are, and what its crossings exceed 2 by."""
    members, size, excess = np.empty((len(u), largest), np.int64), np.empty(len(u), np.int64), np.empty(len(u))
    attached = np.zeros(len(starts) - 1)
    for edge in range(len(u)):
        first, second = u[edge], v[edge]
        excess[edge], size[edge] = _grow_tooth(starts, neighbour, number, x, first, second, attached, members[edge])
    return members, size, excess


@njit(cache=True)
def _grow_tooth(starts, neighbour, number, x, first, second, attached, tooth):
    """Grow a tooth from an edge by the nodes most attached to it, every node being taken to have two edges.

    Returns what its crossings exceed 2 by when they are fewest, and how many nodes it has then.
    """
    touched, num_touched = np.empty(len(attached), np.int64), 0
    size, border, best, best_size = 0, 0.0, np.inf, 0
    joins = first
    while size < len(tooth) and joins >= 0:
        tooth[size] = joins
        size += 1
        border += 2.0 - 2.0 * max(attached[joins], 0.0)
        if attached[joins] == 0.0:
            touched[num_touched] = joins
            num_touched += 1
        attached[joins] = -np.inf
        for at in range(starts[joins], starts[joins + 1]):
            node = neighbour[at]
            if attached[node] == 0.0:
                touched[num_touched] = node
                num_touched += 1
            attached[node] += x[number[at]]
        if size >= 2 and border - 2.0 < best - 1e-6:
            best, best_size = border - 2.0, size
        if best < 1e-6:
            break
        if size == 1:
            joins = second
            continue
        joins, most = -1, 1e-9
        for node in touched[:num_touched]:
            if attached[node] > most + 1e-9:
                joins, most = node, attached[node]
    for node in touched[:num_touched]:
        attached[node] = 0.0
    return max(best, 0.0), best_size


@njit(cache=True)
def _judge(graph, teeth, masks):
    taken, missing = np.zeros(masks.shape[1], np.bool_), np.empty(len(masks))
    for row in range(len(masks)):
        missing[row], _, _ = _choose_teeth(graph, teeth, masks[row], taken)
    return missing


@njit(cache=True)
def _improve_handle(graph, teeth, inside):
    """Move nodes over a handle's border while that helps; return what is missing to its comb, and the comb's teeth.

    Each node moves at most once, and the handle gets worse by little on the way; the best one met is left in place.
    """
    starts, neighbour, _, _ = graph
    num_nodes = len(inside)
    taken = np.zeros(num_nodes, np.bool_)
    best, members, ends = _choose_teeth(graph, teeth, inside, taken)
    kept, has_moved = inside.copy(), np.zeros(num_nodes, np.bool_)
    for _ in range(_MOVES):
        chosen, lowest = -1, np.inf
        for node in range(num_nodes):
            is_near = False
            for at in range(starts[node], starts[node + 1]):
                is_near |= inside[neighbour[at]] != inside[node]
            if not is_near or has_moved[node]:
                continue
            inside[node] = not inside[node]
            trial, _, _ = _choose_teeth(graph, teeth, inside, taken)
            inside[node] = not inside[node]
            if trial < lowest - 1e-9:
                chosen, lowest = node, trial
        if chosen < 0 or lowest > best + 0.5 or (best < -VIOLATION and lowest > best - 1e-6):
            break
        inside[chosen] = not inside[chosen]
        has_moved[chosen] = True
        if lowest < best - 1e-6:
            best, members, ends = _choose_teeth(graph, teeth, inside, taken)
            kept[:] = inside
    inside[:] = kept
    return best, members, ends


@njit(cache=True)
def _choose_teeth(graph, teeth, inside, taken):
    """Choose an odd number of disjoint teeth for a handle, the least crossed first.

    A tooth that holds the whole handle shrinks to the edge that it was grown from.

    Returns the crossings of the handle, and of each tooth less 3, less the 1 that a comb needs: what is missing to it,
    negative where the comb is broken. With fewer than 3 teeth it is positive, and says how far the handle is from one.
    """
    starts, neighbour, number, x = graph
    members, size, excess = teeth
    across, num_across, num_inside, missing = np.empty(len(x), np.int64), 0, 0, -1.0
    for node in range(len(inside)):
        if inside[node]:
            num_inside += 1
            for at in range(starts[node], starts[node + 1]):
                if not inside[neighbour[at]]:
                    across[num_across] = number[at]
                    num_across += 1
                    missing += x[number[at]]
    edges, crossed, reach = np.empty(num_across, np.int64), np.empty(num_across), np.empty(num_across, np.int64)
    count = 0
    for edge in across[:num_across]:
        more, num_nodes = excess[edge], size[edge]
        if num_nodes > num_inside and _count(inside, members[edge, :num_nodes]) == num_inside:
            more, num_nodes = 2.0 - 2.0 * x[edge], 2
        if more >= 1.0 or num_inside < 2:
            continue
        row = count
        while row > 0 and crossed[row - 1] > more:
            edges[row], crossed[row], reach[row] = edges[row - 1], crossed[row - 1], reach[row - 1]
            row -= 1
        edges[row], crossed[row], reach[row] = edge, more, num_nodes
        count += 1
    chosen, num_chosen, num_members = across, 0, 0
    for row in range(count):
        tooth = members[edges[row], : reach[row]]
        if _count(taken, tooth) == 0:
            taken[tooth] = True
            chosen[num_chosen] = row
            num_chosen += 1
            num_members += reach[row]
    for row in chosen[:num_chosen]:
        taken[members[edges[row], : reach[row]]] = False
    num_chosen -= num_chosen % 2 == 0 and num_chosen > 0
    nodes, ends = np.empty(num_members, np.int64), np.zeros(num_chosen + 1, np.int64)
    for rank in range(num_chosen):
        row = chosen[rank]
        missing += crossed[row] - 1.0
        ends[rank + 1] = ends[rank] + reach[row]
        nodes[ends[rank] : ends[rank + 1]] = members[edges[row], : reach[row]]
    return missing if num_chosen >= 3 else max(missing, 0.0) + _FEW_TEETH, nodes[: ends[-1]], ends


@njit(cache=True)
def _count(is_marked, nodes):
    count = 0
    for node in nodes:
        count += is_marked[node]
    return count
