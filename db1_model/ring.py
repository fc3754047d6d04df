from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.config import ModelConfig

KEY_MULTIPLE = 64
"""Keys are attended to in multiples of this number, hidden ones among them: new sizes of products cost time."""

CACHED_SCORES = 2**18
"""A CPU computes as many scores at once, so that they stay in its cache from the product to the softmax."""


@dataclass(frozen=True)
class Run:
    """Neighbouring rows of a memory that ask for equally many positions, so that their products are one.

    Args:
        rows: The rows.
        places: Where their positions stand in the step.
        queries: Positions of each row.
        distances: How far each column of the memory is behind each query: int64 of shape (rows or 1, 1, queries,
            columns); the largest distance of the step stands for all that is hidden.
        hidden: With rope, minus infinity where a column is hidden and zero elsewhere: float32 of the same shape.
    """

    rows: slice
    places: slice
    queries: int
    distances: Tensor
    hidden: Tensor | None

    def split(self, num_rows: int) -> Iterator[Run]:
        """Yield runs of at most so many of the rows."""
        first, last = self.rows.start, self.rows.stop
        for begin in range(first, last, num_rows):
            end = min(begin + num_rows, last)
            part = slice(begin - first, end - first) if len(self.distances) > 1 else slice(None)
            places = slice(*(self.places.start + (row - first) * self.queries for row in (begin, end)))
            hidden = None if self.hidden is None else self.hidden[part]
            yield Run(slice(begin, end), places, self.queries, self.distances[part], hidden)


@dataclass(frozen=True)
class Asked:
    """The positions of a step whose hidden states are asked for in a layer.

    Args:
        runs: The positions, row by row.
        num_distances: Distances 0, 1, ... that occur, with the one for all that is hidden.
        places: Where they stand among the step's positions; None when they are all of them.
    """

    runs: Sequence[Run]
    num_distances: int
    places: Tensor | None = None


class Ring:
    """Columns of a memory's rows, which positions take in turn, and what is seen from where.

    Args:
        config: ``memory_length``, ``num_heads`` and ``position`` are read.
        device: Where the memory is.
    """

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.length, self.size, self.device = config.memory_length, ring_size(config), device
        self._num_heads, self._rope = config.num_heads, config.position == "rope"
        self._distances = _distances_of_columns(self.size, self.length, device)

    def ask(
        self,
        counts: NDArray[np.int64],
        columns: NDArray[np.int64],
        farthest: NDArray[np.int64],
        positions: NDArray[np.int64],
    ) -> Asked:
        """Find out what some positions see.

        Args:
            counts: How many of them each row has.
            columns: Their columns; like the others row after row.
            farthest: The largest distances that they see.
            positions: The positions.
        """
        found = list(_find_runs(counts))
        # one column more than is taken, so that the largest distance is always a hidden one
        taken = [min(_round_up(int(positions[places].max()) + 2), self.size) for _, places, _ in found]
        hidden = max(taken) - 1
        table = self._distances.clamp(max=hidden)
        runs = []
        for (rows, places, queries), num_columns in zip(found, taken, strict=True):
            column, reach = columns[places].reshape(-1, queries), farthest[places].reshape(-1, queries)
            if (column == column[0]).all() and (reach == reach[0]).all():
                column, reach = column[:1], reach[:1]
            distances = table.unfold(0, num_columns, 1)[self.move(self.size - 1 - column)]  # (rows, queries, columns)
            if reach.min() < self.length - 1:
                distances.masked_fill_(distances > self.move(reach)[..., None], hidden)
            distances = distances[:, None]
            mask = None
            if self._rope:
                mask = torch.zeros(distances.shape, device=self.device).masked_fill_(distances == hidden, -torch.inf)
            run = Run(rows, places, queries, distances, mask)
            num_scores = self._num_heads * queries * num_columns  # of a row
            runs += run.split(max(1, CACHED_SCORES // num_scores)) if self.device.type == "cpu" else [run]
        return Asked(runs, hidden + 1)

    def move(self, values: NDArray[np.int64]) -> Tensor:
        """Copy numbers to the memory's device, without waiting for it."""
        return torch.from_numpy(values).to(self.device, non_blocking=True)


def ring_size(config: ModelConfig) -> int:
    """Columns of a row: as many as a query sees and room for a step, rounded up to ``KEY_MULTIPLE``."""
    return _round_up(config.memory_length + KEY_MULTIPLE // 2)


def _round_up(columns: int) -> int:
    return -(-columns // KEY_MULTIPLE) * KEY_MULTIPLE


def _distances_of_columns(ring: int, length: int, device: torch.device) -> Tensor:
    """Distances of columns from a query, for every column that the query may take.

    Args:
        ring: Number of columns.
        length: Distances from here on are hidden, and become ``ring - 1``.
        device: Where to.

    Returns:
        int64 of shape (2 * ring - 1,): those of a query in column c begin at ``ring - 1 - c``.
    """
    distances = torch.arange(ring - 1, -ring, -1, device=device) % ring
    return distances.masked_fill_(distances >= length, ring - 1)


def _find_runs(counts: NDArray[np.int64]) -> Iterator[tuple[slice, slice, int]]:
    """Yield the rows, the places and the common count of neighbouring rows with equal counts, zero excepted."""
    edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    place = 0
    for first, last in pairwise(edges):
        count = int(counts[first])
        if count:
            yield slice(first, last), slice(place, place + (last - first) * count), count
        place += (last - first) * count
