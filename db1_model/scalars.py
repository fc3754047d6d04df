from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from db1_model.bin_edges import LARGEST_VALUE, MU, mu_law_cells

Scale = Literal["mu_law", "linear"]
Edge = Literal["centre", "lower"]

_NUMBERS_AT_ONCE = 1 << 14  # so that what lies between them and their bins stays in the processor's cache


def encode_values(values: NDArray[np.floating], *, num_bins: int = 1024) -> NDArray[np.int32]:
    """Put unbounded numbers into bins by the mu-law: ``sign(x) log(100 |x| + 1) / log(100 * 256 + 1)``.

    The edges between the bins are those of DB1's formula in float32, bit for bit, looked up in a table.

    Args:
        values: Finite numbers of any shape; beyond +-256 they fall into the outermost bins.
        num_bins: Number of bins over [-1, 1] after the mu-law.

    Returns:
        Bins in ``0..num_bins - 1``, of the shape of ``values``; 0.0 lies in bin ``num_bins / 2``.

    Raises:
        ValueError: If a number is NaN or infinite.

    Source:
        Reed et al., "A generalist agent", 2022, appendix B; the constants are DB1's too.
    """
    return _encode(values, num_bins, _find_mu_law_bins)


def encode_actions(values: NDArray[np.floating], *, num_bins: int = 1024) -> NDArray[np.int32]:
    """Put numbers in [-1, 1] into bins of equal width; numbers outside fall into the outermost bins.

    Args:
        values: Finite numbers of any shape.
        num_bins: Number of bins over [-1, 1].

    Returns:
        Bins in ``0..num_bins - 1``, of the shape of ``values``.

    Raises:
        ValueError: If a number is NaN or infinite.
    """
    return _encode(values, num_bins, _find_linear_bins)


def decode_values(bins: NDArray[np.integer], *, num_bins: int = 1024, edge: Edge = "centre") -> NDArray[np.float32]:
    """Return the numbers that mu-law bins stand for.

    Args:
        bins: Bins in ``0..num_bins - 1``, of any shape.
        num_bins: Number of bins.
        edge: The ``centre`` of a bin on the mu-law's scale, or its ``lower`` edge as in DB1.

    Raises:
        ValueError: If a bin is out of range.
    """
    scaled = decode_actions(bins, num_bins=num_bins, edge=edge)
    powers = np.power(MU * LARGEST_VALUE + 1.0, np.abs(scaled), dtype=np.float64).astype(np.float32)
    return np.sign(scaled) * ((powers - np.float32(1.0)) / np.float32(MU))


def decode_actions(bins: NDArray[np.integer], *, num_bins: int = 1024, edge: Edge = "centre") -> NDArray[np.float32]:
    """Return the numbers in [-1, 1] that linear bins stand for.

    Args:
        bins: Bins in ``0..num_bins - 1``, of any shape.
        num_bins: Number of bins.
        edge: The ``centre`` of a bin, or its ``lower`` edge as in DB1, which lies half a bin too low on average.

    Raises:
        ValueError: If a bin is out of range.
    """
    bins = np.asarray(bins)
    if bins.size and (bins.min() < 0 or bins.max() >= num_bins):
        raise ValueError(f"bins {bins.min()}..{bins.max()}; expected 0..{num_bins - 1}")
    offset = np.float32(0.5 if edge == "centre" else 0.0)
    return (bins.astype(np.float32) + offset) / np.float32(num_bins) * np.float32(2.0) - np.float32(1.0)


def _encode(
    values: NDArray[np.floating], num_bins: int, find_bins: Callable[[NDArray[np.float32], int], NDArray[np.number]]
) -> NDArray[np.int32]:
    numbers = np.ascontiguousarray(values, dtype=np.float32)
    flat, bins = numbers.reshape(-1), np.empty(numbers.size, np.int32)
    if not np.isfinite(flat).all():
        at = int(np.flatnonzero(~np.isfinite(flat))[0])
        raise ValueError(f"number {at} is {flat[at]}; expected finite numbers")
    for start in range(0, len(flat), _NUMBERS_AT_ONCE):
        some = slice(start, start + _NUMBERS_AT_ONCE)
        bins[some] = find_bins(flat[some], num_bins)
    return bins.reshape(numbers.shape)


def _find_mu_law_bins(numbers: NDArray[np.float32], num_bins: int) -> NDArray[np.int32]:
    first_bins, edges, shift = mu_law_cells(num_bins)
    cells = numbers.view(np.uint32) >> np.uint32(shift)
    return first_bins[cells] + (numbers >= edges[cells])


def _find_linear_bins(numbers: NDArray[np.float32], num_bins: int) -> NDArray[np.float32]:
    scaled = (np.clip(numbers, np.float32(-1.0), np.float32(1.0)) + np.float32(1.0)) * np.float32(num_bins / 2)
    return np.minimum(scaled, np.float32(num_bins - 1))
