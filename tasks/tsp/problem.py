from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.task import EVALUATION_SEED
from tasks.tsp.cities import china, coordinates
from tasks.tsp.distances import UNIT_SQUARE_SCALE, euclidean, great_circle_m
from tasks.tsp.projection import project

VARIANTS = 4
"""Training episodes that share one instance, and so one solved tour.

Few, since other starts and directions show a model little that is new: with 300 instances 16 times each it learned
their tours by heart (0.14 nats on them, 0.65 on others) and walked 20 % above the expert.
"""

TRAINING, EVALUATION = 0, 1

Tier = Literal["fast", "certified", "proven"]
"""How far a tour is certified: by the 1-tree, the linear program over all edges left, or branch and bound."""

MAX_NODES = 1000
"""Nodes of the search tree at most, for a tour that is to be proven."""


@dataclass(frozen=True)
class Instance:
    """Nodes to be visited once each, by the shortest closed tour.

    Args:
        key: Number of the task, split and number of the instance: the seed that it was drawn from.
        points: Nodes in the plane, kilometres or sides of the unit square, shape (nodes, 2).
        distances: Whole-number distances, shape (nodes, nodes); metres, or millionths of the unit square's side.
        per_unit: Whole-number distance of one ``unit``.
        unit: ``km`` or ``side`` (of the unit square).
        city_rows: Rows of the city table, shape (nodes,); None on the unit square.
    """

    key: tuple[int, int, int]
    points: NDArray[np.float64]
    distances: NDArray[np.int64]
    per_unit: int
    unit: str
    city_rows: NDArray[np.int64] | None = None

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.points)


@dataclass(frozen=True)
class Variant:
    """How an episode walks through its instance; either choice leaves the tour's length as it is.

    The 8 symmetries of the plane are no part of it: observations are the same under all of them.

    Args:
        start: Node that the episode starts at.
        backwards: Whether its expert walks its tour backwards.
    """

    start: int = 0
    backwards: bool = False


class Source(Protocol):
    """Where an environment's instances come from."""

    @property
    def num_nodes(self) -> int:
        """Nodes of every instance."""
        ...

    def draw_instance(self, seed: int) -> Instance:
        """Return the instance of an episode's seed."""
        ...

    def draw_variant(self, seed: int) -> Variant:
        """Return the variant of an episode's seed."""
        ...


@dataclass(frozen=True)
class Given:
    """The same instance for every seed, walked from its first node on.

    Args:
        instance: The instance.
    """

    instance: Instance

    @property
    def num_nodes(self) -> int:
        """See ``Source``."""
        return self.instance.num_nodes

    def draw_instance(self, seed: int) -> Instance:
        """See ``Source``."""
        return self.instance

    def draw_variant(self, seed: int) -> Variant:
        """See ``Source``."""
        return Variant()


@dataclass(frozen=True)
class Problem:
    """A distribution of instances: what one task of the family is about.

    Args:
        name: The task's name without the family.
        number: Number of the task, the first word of its instances' seeds.
        num_nodes: Nodes of every instance.
        over_china: Whether nodes are Chinese cities; uniform on the unit square otherwise.
    """

    name: str
    number: int
    num_nodes: int
    over_china: bool

    def locate(self, seed: int) -> tuple[int, int, int]:
        """Return split, number of the instance and number of the variant that an episode's seed stands for.

        Training seed s is variant ``s % VARIANTS`` of instance ``s // VARIANTS``; every evaluation seed is an instance
        of its own.
        """
        if seed < 0:
            raise ValueError(f"an episode's seed of {seed}; expected a whole number >= 0")
        if seed >= EVALUATION_SEED:
            return EVALUATION, seed - EVALUATION_SEED, 0
        return TRAINING, seed // VARIANTS, seed % VARIANTS

    def draw_instance(self, seed: int) -> Instance:
        """Return the instance of an episode's seed; training instances have no held-out city."""
        split, number, _ = self.locate(seed)
        key = (self.number, split, number)
        rng = np.random.default_rng(key)
        if not self.over_china:
            points = rng.random((self.num_nodes, 2))
            return Instance(key, points, euclidean(points), UNIT_SQUARE_SCALE, "side")
        allowed = _all_rows() if split == EVALUATION else _training_rows()
        rows = rng.choice(allowed, self.num_nodes, replace=False)
        degrees = _china_coordinates()[rows]
        return Instance(key, project(degrees), great_circle_m(degrees), 1000, "km", rows)

    def draw_variant(self, seed: int) -> Variant:
        """Return the variant of an episode's seed; variant 0, and so every evaluation seed, changes nothing."""
        split, number, variant = self.locate(seed)
        if variant == 0:
            return Variant()
        rng = np.random.default_rng((self.number, split, number, variant))
        return Variant(start=int(rng.integers(self.num_nodes)), backwards=variant % 2 == 1)


@cache
def _china_coordinates() -> NDArray[np.float64]:
    return coordinates(china())


@cache
def _all_rows() -> NDArray[np.int64]:
    return np.arange(len(china()))


@cache
def _training_rows() -> NDArray[np.int64]:
    return np.array([row for row, city in enumerate(china()) if not city.held_out])
