from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from db1_model.bin_edges import LARGEST_VALUE, MU, mu_law_cells

Scale = Literal["mu_law", "linear"]
Edge = Literal["centre", "lower"]


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
    return _encode(values, num_bins, mu_law=True)


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
    return _encode(values, num_bins, mu_law=False)


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


def _encode(values: NDArray[np.floating], num_bins: int, *, mu_law: bool) -> NDArray[np.int32]:
    from db1_model.bin_search import find_linear_bins, find_mu_law_bins  # Dagster loads this file, and not numba

    numbers = np.ascontiguousarray(values, dtype=np.float32)
    bins = np.empty(numbers.shape, np.int32)
    flat = numbers.reshape(-1)
    if mu_law:
        finite = find_mu_law_bins(flat, bins.reshape(-1), *mu_law_cells(num_bins))
    else:
        finite = find_linear_bins(flat, bins.reshape(-1), num_bins)
    if not finite:
        at = int(np.flatnonzero(~np.isfinite(flat))[0])
        raise ValueError(f"number {at} is {flat[at]}; expected finite numbers")
    return bins
