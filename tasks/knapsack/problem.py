from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANGE = 1000
"""Largest weight or value that is drawn; what follows from the other may be a fifth above."""

KINDS = (
    "uncorrelated",
    "weakly-correlated",
    "strongly-correlated",
    "inverse-strongly-correlated",
    "almost-strongly-correlated",
    "multiple-strongly-correlated",
    "profit-ceiling",
    "subset-sum",
)
"""How values and weights hang together."""


@dataclass(frozen=True)
class Instance:
    """Items to choose from, those with the most value a weight first; equal ones by falling weight.

    Args:
        values: int64 of shape (items,), at least 1.
        weights: int64 of shape (items,), at least 1.
        capacity: Largest sum of the chosen weights.
    """

    values: NDArray[np.int64]
    weights: NDArray[np.int64]
    capacity: int

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Problem:
    """Instances of one kind and size.

    Args:
        kind: One of ``KINDS``.
        num_items: Items of an instance, at least 1.
        number: Tells the problem's instances from those of others.

    Raises:
        ValueError: If there is no such kind, or there are no items.
    """

    kind: str
    num_items: int
    number: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.num_items < 1:
            raise ValueError(
                f"{self.num_items} items of kind {self.kind!r}; expected at least 1 of one of {', '.join(KINDS)}"
            )

    def draw(self, seed: int) -> Instance:
        """Draw the instance of a seed; its capacity is a quarter to three quarters of all weights.

        Source:
            Pisinger, "Where are the hard knapsack problems?", 2005: the classes and their parameters.
        """
        random = np.random.default_rng([self.number, seed])
        drawn = random.integers(1, RANGE + 1, self.num_items)
        values, weights = drawn, drawn
        tenth = RANGE // 10
        match self.kind:
            case "uncorrelated":
                values = random.integers(1, RANGE + 1, self.num_items)
            case "weakly-correlated":
                values = np.maximum(1, drawn + random.integers(-tenth, tenth + 1, self.num_items))
            case "strongly-correlated":
                values = drawn + tenth
            case "inverse-strongly-correlated":
                weights = drawn + tenth
            case "almost-strongly-correlated":
                values = drawn + tenth + random.integers(-RANGE // 500, RANGE // 500 + 1, self.num_items)
            case "multiple-strongly-correlated":
                values = drawn + np.where(drawn % 6 == 0, 3 * tenth, 2 * tenth)
            case "profit-ceiling":
                values = 3 * -(-drawn // 3)
        order = np.lexsort((-weights, -values / weights))
        capacity = max(int(random.uniform(0.25, 0.75) * weights.sum()), int(weights.min()))
        return Instance(values[order], weights[order], capacity)


def fill_greedily(values: NDArray[np.int64], weights: NDArray[np.int64], capacity: int) -> int:
    """Return the value of taking, in order, every item that still fits."""
    total = 0
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        if weight <= capacity:
            total, capacity = total + value, capacity - weight
    return total


def bound_value(values: NDArray[np.int64], weights: NDArray[np.int64], capacity: int) -> int:
    """Return what no choice exceeds: items in order, and of the first that does not fit the part that does.

    Args:
        values: Shape (items,), in the order of falling value a weight.
        weights: Shape (items,).
        capacity: Largest sum of weights, at least 0.

    Source:
        Dantzig, "Discrete-variable extremum problems", 1957.
    """
    filled = weights.cumsum()
    whole = int(filled.searchsorted(capacity, side="right"))
    total = int(values[:whole].sum())
    if whole == len(values):
        return total
    left = capacity - (int(filled[whole - 1]) if whole else 0)
    return total + left * int(values[whole]) // int(weights[whole])
