from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CAPACITY = 1000

KINDS = (
    "triplets",
    "quadruplets",
    "cut-2-3",
    "cut-2-4",
    "cut-3-5",
    "cut-2-6",
    "narrow",
    "wide",
)
"""Falkenauer's triplets (three items fill a bin, one of them large), the same with four; bins cut at random into so
many pieces; and items drawn from 200 to 500 and from 100 to 700."""


@dataclass(frozen=True)
class Problem:
    """Where the instances of a task come from.

    Args:
        kind: One of ``KINDS``.
        num_bins: How many bins' worth of items an instance has.
        number: Tells tasks apart that share a kind and a size.

    Raises:
        ValueError: If there is no such kind, or not at least one bin.

    Source:
        Falkenauer, "A hybrid grouping genetic algorithm for bin packing", 1996, for the triplets.
    """

    kind: str
    num_bins: int
    number: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.num_bins < 1:
            raise ValueError(
                f"{self.num_bins} bins of kind {self.kind!r}; expected at least 1 of one of {', '.join(KINDS)}"
            )

    def draw(self, seed: int) -> NDArray[np.int64]:
        """Return the sizes of the items of a seed, largest first, each from 1 to ``CAPACITY``."""
        generator = np.random.default_rng([self.number, seed])
        if self.kind in ("narrow", "wide"):
            low, high = (200, 500) if self.kind == "narrow" else (100, 700)
            sizes = generator.integers(low, high, endpoint=True, size=round(self.num_bins * 2000 / (low + high)))
        else:
            sizes = np.concatenate([_fill_bin(self.kind, generator) for _ in range(self.num_bins)])
        return np.sort(sizes)[::-1].astype(np.int64)


def bound_bins(sizes: NDArray[np.int64]) -> int:
    """Return a lower bound on the bins: Martello and Toth's L2.

    For each limit up to half of the capacity, the items above the capacity less the limit have bins of their own,
    those above half have one each, and what of the items down to the limit does not fit beside these needs more.

    Source:
        Martello and Toth, "Lower bounds and reduction procedures for the bin packing problem", 1990.
    """
    best = 0
    for limit in {0, *(int(size) for size in sizes if size <= CAPACITY // 2)}:
        alone = int(np.sum(sizes > CAPACITY - limit))
        large = sizes[(sizes <= CAPACITY - limit) & (sizes > CAPACITY // 2)]
        small = sizes[(sizes <= CAPACITY // 2) & (sizes >= limit)]
        room = len(large) * CAPACITY - int(large.sum())
        best = max(best, alone + len(large) + max(0, -(-(int(small.sum()) - room) // CAPACITY)))
    return best


def pack_best_fit(sizes: Sequence[int] | NDArray[np.int64]) -> list[list[int]]:
    """Put each item into the fullest bin in which it fits, or a new one; return the items' numbers bin by bin."""
    bins: list[list[int]] = []
    left: list[int] = []
    for item, size in enumerate(sizes):
        fitting = [place for place, room in enumerate(left) if room >= size]
        if not fitting:
            bins.append([])
            left.append(CAPACITY)
            fitting = [len(bins) - 1]
        place = min(fitting, key=lambda number: left[number])
        bins[place].append(item)
        left[place] -= int(size)
    return bins


def find_sums(sizes: Sequence[int] | NDArray[np.int64]) -> int:
    """Return the sums up to ``CAPACITY`` that some of the sizes add up to, as the set bits of a number."""
    sums, mask = 1, (1 << (CAPACITY + 1)) - 1
    for size in sizes:
        sums |= (sums << int(size)) & mask
    return sums


def waste(room: int, sums: int) -> int:
    """Return what the fullest filling of a room with these sums leaves empty."""
    return room - ((sums & ((1 << (room + 1)) - 1)).bit_length() - 1)


def _fill_bin(kind: str, generator: np.random.Generator) -> NDArray[np.int64]:
    if kind == "triplets":
        largest = int(generator.integers(380, 490, endpoint=True))
        second = int(generator.integers(250, (CAPACITY - largest) // 2, endpoint=True))
        return np.array([largest, second, CAPACITY - largest - second])
    if kind == "quadruplets":
        low, high, smallest = 4, 4, 180
    else:
        low, high, smallest = (*map(int, kind.split("-")[1:]), 80)
    pieces = int(generator.integers(low, high, endpoint=True))
    free = CAPACITY - pieces * smallest
    cuts = np.sort(generator.integers(0, free, endpoint=True, size=pieces - 1))
    return smallest + np.diff(cuts, prepend=0, append=free)
