from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


def measure_paths(
    poses: Iterable[int], tolls: Sequence[int], steps: Sequence[int], *, backward: bool = False
) -> tuple[dict[int, int], dict[int, int]]:
    """Measure the cheapest ways from some poses to all others, or from all others to them.

    A turn costs 1, a step the toll of the cell that it enters.

    Args:
        poses: Where the ways begin, or end if ``backward``; each four times a cell plus a direction.
        tolls: What it costs to enter each cell; 0 if that can't be done.
        steps: What is added to a cell by a step to the right, down, left and up.
        backward: Whether the ways end at the poses.

    Returns:
        The cost of each pose that can be reached, and its neighbour on the cheapest way, toward ``poses``.

    Source:
        Dijkstra, "A note on two problems in connexion with graphs", 1959.
    """
    costs = dict.fromkeys(poses, 0)
    neighbours: dict[int, int] = {}
    queue = [(0, pose) for pose in costs]
    heapq.heapify(queue)
    while queue:
        cost, pose = heapq.heappop(queue)
        if cost > costs[pose]:
            continue
        cell, direction = divmod(pose, 4)
        other = cell - steps[direction] if backward else cell + steps[direction]
        turns = [(4 * cell + (direction + turn) % 4, 1) for turn in (1, 3)]
        moves = [(4 * other + direction, tolls[cell if backward else other])] if tolls[other] else []
        for near, toll in turns + moves:
            if cost + toll < costs.get(near, 1 << 30):
                costs[near] = cost + toll
                neighbours[near] = pose
                heapq.heappush(queue, (cost + toll, near))
    return costs, neighbours


def trace_path(pose: int, neighbours: dict[int, int]) -> list[int]:
    """Return the poses from one to where its cheapest way ends, the first included."""
    path = [pose]
    while path[-1] in neighbours:
        path.append(neighbours[path[-1]])
    return path
