from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.vehicle_routing.problem import Problem

_NUM_SEEN = 10
_NUM_FEATURES = 5

_Observation = dict[str, NDArray[np.float32]]


class RoutingEnvironment(gymnasium.Env):
    """One vehicle after another leaves the depot, serves customers up to its capacity, and comes back.

    Observation:
        All in [-1, 1]. ``customers``, float32 of shape (50,): five numbers for each of the 10 nearest customers that
        are not served and whose demand the vehicle still holds: where it lies, seen from the vehicle with the depot
        ahead (at the depot: with the middle of those not served ahead), as ``tanh(way / spacing)``; its demand in what
        the vehicle holds; what going on to it saves against two ways to the depot; and how far it is from its nearest
        customer that is not served. 1 where there are fewer. ``vehicle``, shape (4,): what it holds by its capacity;
        its way to the depot; the part of the customers that is not served; and their demand in vehicles.

    Action:
        0 returns to the depot; ``r`` goes to the ``r``-th nearest of these customers. ``info["action_mask"]`` allows
        what there is; a vehicle that has not left does not return.

    Reward:
        Minus the way by the radial lower bound; the last customer's has the way back in it. So the return is minus the
        length of all routes by the bound.

    End:
        All customers are served.

    Expert:
        OR-Tools' routing solver: savings, then guided local search up to a number of solutions.

    Licence:
        Apache-2.0 (this project).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        shapes = {"customers": (_NUM_SEEN * _NUM_FEATURES,), "vehicle": (4,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Discrete(1 + problem.num_customers)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin with the instance of the seed.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the customers are drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.instance = self.problem.draw(seed)
        area = np.ptp(self.instance.points, axis=0).prod() + 1.0
        self._spacing = float(np.sqrt(area / self.instance.num_nodes))
        self.is_served = np.zeros(self.instance.num_nodes, dtype=bool)
        self.is_served[0] = True
        self.node, self._length = 0, 0
        self._load = self.instance.capacity
        self._rank()
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Go to the customer of this rank, or to the depot.

        Raises:
            ValueError: If there are not so many customers, or the vehicle is at the depot already.
        """
        if not 0 <= int(action) <= len(self.ranked) or (action == 0 and self.node == 0):
            raise ValueError(
                f"choice {action} at node {self.node} with {len(self.ranked)} customers to go to; expected one that "
                "the mask allows"
            )
        before, self.node = self.node, 0 if action == 0 else int(self.ranked[int(action) - 1])
        way = int(self.instance.distances[before, self.node])
        self._load = self.instance.capacity if action == 0 else self._load - int(self.instance.demands[self.node])
        self.is_served[self.node] = True
        is_over = bool(self.is_served.all())
        way += int(self.instance.distances[self.node, 0]) if is_over else 0
        self._length += way
        self._rank()
        return self._observe(), -way / self.instance.radial_bound, is_over, False, self._info()

    def _rank(self) -> None:
        fitting = np.flatnonzero(~self.is_served & (self.instance.demands <= self._load))
        self.ranked = fitting[np.argsort(self.instance.distances[self.node, fitting], kind="stable")]
        """Customers that the vehicle can go to, the nearest first."""

    def _info(self) -> dict[str, Any]:
        if self.is_served.all():
            return {"summary": {"length": self._length, "lower_bound": self.instance.radial_bound}}
        mask = np.arange(1 + self.problem.num_customers) <= len(self.ranked)
        mask[0] = self.node != 0
        return {"action_mask": mask}

    def _observe(self) -> _Observation:
        customers = np.ones((_NUM_SEEN, _NUM_FEATURES))
        instance, waiting = self.instance, np.flatnonzero(~self.is_served)
        seen = self.ranked[:_NUM_SEEN]
        if len(seen):
            ahead = instance.points[0] if self.node else instance.points[waiting].mean(axis=0)
            ways = instance.points[seen] - instance.points[self.node]
            x, y = _turn(ways, ahead - instance.points[self.node]) / self._spacing
            saved = instance.distances[self.node, 0] + instance.distances[seen, 0] - instance.distances[self.node, seen]
            alone = instance.distances[np.ix_(seen, waiting)].astype(np.float64)
            alone[seen[:, None] == waiting[None]] = np.inf
            columns = (
                np.tanh(x),
                np.tanh(y),
                2.0 * instance.demands[seen] / self._load - 1.0,
                2.0 * np.tanh(saved / self._spacing / 2.0) - 1.0,
                2.0 * np.tanh(alone.min(axis=1) / self._spacing) - 1.0,
            )
            customers[: len(seen)] = np.column_stack(columns)
        vehicle = (
            2.0 * self._load / instance.capacity - 1.0,
            2.0 * np.tanh(instance.distances[self.node, 0] / self._spacing / 2.0) - 1.0,
            2.0 * len(waiting) / self.problem.num_customers - 1.0,
            2.0 * np.tanh(instance.demands[waiting].sum() / instance.capacity / 3.0) - 1.0,
        )
        parts = {"customers": customers.reshape(-1), "vehicle": np.array(vehicle)}
        return {key: np.clip(part, -1.0, 1.0).astype(np.float32) for key, part in parts.items()}


def _turn(ways: NDArray[np.int64], ahead: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what of each way leads ahead, and what to the left, shape (2, ways)."""
    length = float(np.hypot(*ahead))
    forward = ahead / length if length else np.array([1.0, 0.0])
    return np.stack([ways @ forward, ways @ np.array([-forward[1], forward[0]])]).astype(np.float64)
