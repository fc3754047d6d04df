from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.tsp.problem import Instance, Source, Variant
from tasks.tsp.view import VIEW_SIZE, describe_view, rank_unvisited, typical_spacing


class TourEnvironment(gymnasium.Env):
    """Visit every node once and come back, as short as possible.

    Observation:
        ``nodes``: float32 of shape (60,) in [-1, 1], what a walker sees from where it is; see ``view.describe_view``.
        Chosen by the gap of a small network's greedy tours of 100 cities to the expert's after 0.5 and 2 million
        decisions, per cent, on 100 held-out instances (``python -m benchmarks.tsp_representation``; standard error
        0.7; nearest neighbour 26.0): 16 nodes in the map's frame 23.4 and 20.6; in the walker's frame 22.2 and 16.7;
        with lengths squashed 21.2 and 16.3; 12 nodes with distance and isolation 20.5 and 17.1; this view 18.6 and
        14.8.

    Action:
        The rank of the next node among all unvisited ones, 0 the nearest. ``info["action_mask"]`` allows the ranks
        below the number of unvisited nodes.

    Reward:
        Minus the leg's length, in kilometres between cities and in sides of the unit square otherwise; the last reward
        has the way back to the start in it, so that the return is minus the length of the closed tour.

    End:
        Terminated when every node is visited: ``nodes - 1`` steps. The last ``info["summary"]`` has the closed tour
        (node numbers), its length and the unit.

    Args:
        source: Where the instances come from.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, source: Source) -> None:
        self._source = source
        self.observation_space = spaces.Dict({"nodes": spaces.Box(-1.0, 1.0, (VIEW_SIZE,), np.float32)})
        self.action_space = spaces.Discrete(source.num_nodes)
        self.instance: Instance
        self.variant: Variant

    @property
    def num_visited(self) -> int:
        """Nodes visited so far, the start included."""
        return len(self._tour)

    def rank_of(self, node: int) -> int:
        """Return the action that goes to an unvisited node.

        Raises:
            ValueError: If the node has been visited or does not exist.
        """
        found = np.flatnonzero(self._ranked == node)
        if not len(found):
            raise ValueError(f"node {node} is not among the {len(self._ranked)} unvisited nodes")
        return int(found[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the episode that the seed stands for; see ``Problem.locate``.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("a tour's instance is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.instance = self._source.draw_instance(seed)
        self.variant = self._source.draw_variant(seed)
        self._spacing = typical_spacing(self.instance.points)
        self._visited = np.zeros(self.instance.num_nodes, bool)
        self._tour: list[int] = []
        self._length = 0
        self._go_to(self.variant.start)
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Go to the node of this rank.

        Raises:
            ValueError: If there are not so many unvisited nodes.
        """
        rank = int(action)
        if not 0 <= rank < len(self._ranked):
            raise ValueError(f"rank {rank} with {len(self._ranked)} unvisited nodes; expected one that the mask allows")
        leg = self._go_to(int(self._ranked[rank]))
        done = self.num_visited == self.instance.num_nodes
        if done:
            leg += int(self.instance.distances[self._tour[-1], self._tour[0]])
        self._length += leg
        return self._observe(), -leg / self.instance.per_unit, done, False, self._info()

    def _go_to(self, node: int) -> int:
        leg = int(self.instance.distances[self._tour[-1], node]) if self._tour else 0
        self._tour.append(node)
        self._visited[node] = True
        self._ranked = rank_unvisited(self.instance.distances, self._visited, node)
        return leg

    def _observe(self) -> dict[str, NDArray[np.float32]]:
        view = np.zeros(VIEW_SIZE, np.float32)
        if len(self._ranked):
            points, tour = self.instance.points, self._tour
            describe_view(points, self._ranked, tour[-1], tour[0], self._spacing, view)
        return {"nodes": view}

    def _info(self) -> dict[str, Any]:
        if not len(self._ranked):
            length = self._length / self.instance.per_unit
            return {"summary": {"tour": self._tour, "length": length, "unit": self.instance.unit}}
        return {"action_mask": np.arange(self.instance.num_nodes) < len(self._ranked)}
