from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

KINDS = tuple("-".join(parts) for parts in product(("central", "corner"), ("uniform", "clustered"), ("unit", "varied")))
"""Where the depot lies, how the customers are spread, and whether their demands differ."""

_SIDE = 1000
_ROUTE = 5  # customers that a vehicle's capacity is meant for


@dataclass(frozen=True)
class Instance:
    """A depot, node 0, and customers that vehicles of one capacity serve.

    Args:
        points: Places of the nodes, shape (nodes, 2), in whole units.
        demands: What each node is to be brought, shape (nodes,); 0 for the depot.
        capacity: What a vehicle holds.
        distances: Rounded Euclidean distances, shape (nodes, nodes).
    """

    points: NDArray[np.int64]
    demands: NDArray[np.int64]
    capacity: int
    distances: NDArray[np.int64]

    @property
    def num_nodes(self) -> int:
        """Customers and the depot."""
        return len(self.points)

    @property
    def radial_bound(self) -> float:
        """No routes are shorter: each unit of demand pays its share of a vehicle's way out and back.

        Source:
            Haimovich and Rinnooy Kan, "Bounds and heuristics for capacitated routing problems", 1985.
        """
        return float(2 * (self.demands * self.distances[0]).sum() / self.capacity)

    def length(self, routes: list[list[int]]) -> int:
        """Return the length of routes, each from the depot and back to it."""
        return sum(int(self.distances[[0, *route], [*route, 0]].sum()) for route in routes)


@dataclass(frozen=True)
class Problem:
    """Where the instances of a task come from.

    Args:
        kind: One of ``KINDS``.
        num_customers: Customers of an instance.
        number: Tells tasks apart.

    Raises:
        ValueError: If there is no such kind, or not at least one customer.

    Source:
        The kinds are after Uchoa et al., "New benchmark instances for the capacitated vehicle routing problem", 2017:
        a grid of 1,000, a depot in its centre or corner, customers drawn uniformly or around seeds, demands of 1 or
        from 1 to 10.
    """

    kind: str
    num_customers: int
    number: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.num_customers < 1:
            raise ValueError(
                f"{self.num_customers} customers of kind {self.kind!r}; expected at least 1 of one of "
                f"{', '.join(KINDS)}"
            )

    def draw(self, seed: int) -> Instance:
        """Return the instance of a seed."""
        generator = np.random.default_rng([self.number, seed])
        depot, spread, demand = self.kind.split("-")
        place = np.full(2, _SIDE // 2 if depot == "central" else 0)
        if spread == "uniform":
            customers = generator.integers(0, _SIDE, endpoint=True, size=(self.num_customers, 2))
        else:
            seeds = generator.integers(0, _SIDE, endpoint=True, size=(max(2, self.num_customers // 6), 2))
            around = seeds[generator.integers(len(seeds), size=self.num_customers)]
            offsets = generator.normal(0, _SIDE / 15, size=around.shape).round().astype(np.int64)
            customers = np.clip(around + offsets, 0, _SIDE)
        demands = generator.integers(1, 10 if demand == "varied" else 1, endpoint=True, size=self.num_customers)
        capacity = max(int(demands.max()), round(_ROUTE * float(demands.mean())))
        points = np.vstack([place, customers])
        steps = points[:, None] - points[None]
        distances = np.rint(np.sqrt((steps**2).sum(axis=2))).astype(np.int64)
        return Instance(points, np.concatenate([[0], demands]), capacity, distances)
