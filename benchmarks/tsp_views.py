from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.tsp.view import NUM_SECTORS, NUM_SHOWN, VIEW_SIZE, describe_view, hang_branches


@dataclass(frozen=True)
class View:
    """One way to describe a step to a model.

    Args:
        name: For the table.
        num_shown: Unvisited nodes that are shown, nearest first.
        own_frame: Whether the plane is turned and mirrored so that the two nearest nodes lie alike every time; a random
            one of the 8 symmetries of the square otherwise.
        local: Whether lengths are shortened to r / (r + mean of the nearest 8); clipped at 4 spacings otherwise.
        distance: Whether each shown node's distance is told beside its vector.
        isolation: Whether its distance to the nearest other unvisited node is told.
        tree: Whether its place in the shortest spanning tree of what is left is told: joined to the present place, its
            branch's share of the nodes, and whether the branch leads to the start.
        environment: Whether this is the environment's own view, by its own code; the rest is then ignored.
    """

    name: str
    num_shown: int = NUM_SHOWN
    own_frame: bool = True
    local: bool = True
    distance: bool = False
    isolation: bool = False
    tree: bool = False
    environment: bool = False

    @property
    def size(self) -> int:
        """Numbers of a step."""
        if self.environment:
            return VIEW_SIZE
        return self.num_shown * (2 + self.distance + self.isolation + 3 * self.tree) + 4 + NUM_SECTORS

    def describe(
        self,
        points: NDArray[np.float64],
        ranked: NDArray[np.int64],
        current: int,
        start: int,
        spacing: float,
        out: NDArray[np.float32],
    ) -> None:
        """Write one step's numbers; the arguments are those of ``describe_view``."""
        if self.environment:
            describe_view(points, ranked, current, start, spacing, out)
            return
        flags = (self.own_frame, self.local, self.distance, self.isolation, self.tree)
        _describe(points, ranked, current, start, spacing, self.num_shown, *flags, out)


@njit(cache=True)
def _apart(points, u, v):
    return math.hypot(points[u, 0] - points[v, 0], points[u, 1] - points[v, 1])


@njit(cache=True)
def _describe(points, ranked, current, start, spacing, num_shown, own_frame, local, distance, isolation, tree, out):
    out[:] = 0.0
    shown = min(len(ranked), num_shown)
    ahead_x, ahead_y, hand = 1.0, 0.0, 1.0
    if own_frame:
        x, y = points[ranked[0]] - points[current]
        length = max(math.hypot(x, y), 1e-12)
        ahead_x, ahead_y = x / length, y / length
        if shown > 1:
            x, y = points[ranked[1]] - points[current]
            hand = -1.0 if ahead_x * y - ahead_y * x < 0 else 1.0
    unit = 0.0
    for k in range(min(len(ranked), 8)):
        unit += _apart(points, current, ranked[k])
    unit = max(unit / min(len(ranked), 8), 1e-9)
    if tree:
        parent, branch, weight, home = hang_branches(points, ranked, current, start)
    at = 0
    for k in range(shown):
        x, y = points[ranked[k]] - points[current]
        r = math.hypot(x, y)
        across, along = (y * ahead_x - x * ahead_y) * hand, x * ahead_x + y * ahead_y
        if local:
            out[at], out[at + 1] = along / (r + unit), across / (r + unit)
        else:
            out[at] = min(max(along / (4 * spacing), -1.0), 1.0)
            out[at + 1] = min(max(across / (4 * spacing), -1.0), 1.0)
        at += 2
        if distance:
            out[at] = r / (r + unit)
            at += 1
        if isolation:
            nearest = _apart(points, ranked[k], start) if len(ranked) == 1 else math.inf
            for other in ranked:
                if other != ranked[k]:
                    nearest = min(nearest, _apart(points, ranked[k], other))
            out[at] = nearest / (nearest + unit)
            at += 1
        if tree:
            out[at] = 1.0 if parent[k + 1] == 0 else 0.0
            out[at + 1] = weight[branch[k + 1]] / len(ranked)
            out[at + 2] = 1.0 if branch[k + 1] == home else 0.0
            at += 3
    at = len(out) - 4 - NUM_SECTORS
    x, y = points[start] - points[current]
    shorter = 1.0 / (math.hypot(x, y) + 4 * spacing)
    out[at], out[at + 1] = (x * ahead_x + y * ahead_y) * shorter, (y * ahead_x - x * ahead_y) * hand * shorter
    out[at + 2] = 2.0 * len(ranked) / len(points) - 1.0
    out[at + 3] = math.tanh(math.log(unit / spacing))
    for node in ranked:
        x, y = points[node] - points[current]
        turned = math.atan2((y * ahead_x - x * ahead_y) * hand, x * ahead_x + y * ahead_y)
        out[at + 4 + math.floor(turned / (2 * math.pi) * NUM_SECTORS + 0.5) % NUM_SECTORS] += 1.0
    for sector in range(NUM_SECTORS):
        out[at + 4 + sector] = math.sqrt(out[at + 4 + sector] / len(points))
