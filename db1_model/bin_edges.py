from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MU = 100.0
LARGEST_VALUE = 256.0
"""The mu-law maps this value to 1; larger ones share the last bin."""

_SPAN = np.float32(math.log(MU * LARGEST_VALUE + 1.0))
_LARGEST = 0x7F7FFFFF  # the largest finite float32, as bits
_SIGN = 0x80000000
_FEWEST_BITS, _MOST_BITS = 16, 24  # of a number, that choose its cell
_DB1_BINS = 1024
_DB1_STEPS = (
    "mmmmmnmnmommmmmnnmmmmnmnmnmmmmmmmnmnnmmmmmmkmommommmmmmnmmmmnnmmmmmmmmmmnnnlmmmmmmmmmmmmmommnmmnnmmmmnmmmmmolnmm"
    "mlmmmmnmmmmmomommmmnnmmnmnmkmmmnmmmmmmmmmmmmmmmmmmnmmnnmmmmmmmmmnnmmoomnnmmmmmmomnnmnmmmmmmmmmnnmommommmmmmnmmmm"
    "mmmmmmmmmmmmmmmmmmmmmmkmolmmmmmmmmnmmonmmmmmmmmnmnmmmmmmmmnmnmmnmmmoommmmmnmmommmnmmmmmmmmnmnmnmmmmmmmmmmmmmmmmm"
    "mmmmmmmmmmmmmmmmmllmmmmmmmmmmmmmmmmmmmmmmnmmmmmmmmmmmonommmmmmmmmommmmnmmmmnmmmmnnmnnmmmmmmmmmmmmmmmmmmmmmmmmmmm"
    "mmmnmmmnmmomommmmmmmmmmmmmmmmmmmmmmmmmmmmnmmjmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmfmimmmmmmmmmmmmmlmmmmmmmmmmmmmmmmm"
    "kmmmmmmllmmmmmmmmmmmmmmmmmmmkkmmmmmmmmmmmmmmmmmmmmmmllmmmmmmmmmkmmmmmmmlkmmmlmlmmmmmmmmmlmmmmmmmmmmmmmmmmmmlmmml"
    "mlmmmlmmmmmmlmmmmmmlmmlmlmmmmmmmlmmmnmmmmmmmmmmmmmmmmmmkmlmmmmmmmmmmnmmmmlmmlmmmmmmmmlmmlmmkmmlmmmmmnmmmmmmmmmlm"
    "mmmlmmmmlmmmmmmmlmmmmmlkmllmmmmmlmlmlllmmmlmmmmmmmmllmmmmmmmmmmmnmlmmlmmmmllmmmmkmmmmmmmmmmommmmmmmlmlmmmmmmmmmm"
    "lmmmmmmmmmmmmlmmlkmmllmllmmmmmmlmmmlmmlmmmlmmmmlkmmmmmkmmmllmllmmmmmllmmmlmlmlmmmmlkmmmlmklkklmmlmmmllmmmlmmmklm"
    "mmmmmmmlmmmmkml"
)
"""Steps of float32 from an edge with an exact logarithm to DB1's, whose logarithm errs; a letter an edge, m is 0."""


@lru_cache(maxsize=4)
def mu_law_cells(num_bins: int) -> tuple[NDArray[np.int32], NDArray[np.float32], int]:
    """Cut all float32 numbers into cells of equal leading bits that hold at most one edge between mu-law bins each.

    The bin of a number x in cell c is ``first_bins[c] + (x >= edges[c])``, without a logarithm, and so the same on
    every machine.

    Args:
        num_bins: Number of bins over [-1, 1] after the mu-law.

    Returns:
        The bin of each cell's smallest number, the edge within each cell (infinity where there is none), and the number
        of bits to shift a number by to find its cell. Cells of NaN and infinity mean nothing.

    Raises:
        ValueError: If there are so many bins that a cell of 24 leading bits holds several edges.
    """
    places = _edge_places(num_bins)
    for bits in range(_FEWEST_BITS, _MOST_BITS + 1):
        shift = 32 - bits
        cell_of = _bits_at(places) >> shift
        if len(np.unique(cell_of)) == num_bins - 1:
            break
    else:
        raise ValueError(f"{num_bins} bins; expected few enough that float32 numbers can tell their edges apart")
    cells = np.arange(1 << bits, dtype=np.int64)
    smallest = np.where(cells >> (bits - 1), ((cells + 1) << shift) - 1, cells << shift)
    first_bins = np.searchsorted(places, _place_of(smallest), side="right").astype(np.int32)
    edges = np.full(1 << bits, np.inf, np.float32)
    edges[cell_of] = _bits_at(places).astype(np.uint32).view(np.float32)
    first_bins[cell_of] = np.arange(num_bins - 1)  # also where the edge is the cell's smallest number
    return first_bins, edges, shift


def _edge_places(num_bins: int) -> NDArray[np.int64]:
    """Find the place of each bin's smallest float32 but the first's, in the order of all float32 numbers."""
    bins = np.arange(1, num_bins)
    low, high = np.full(num_bins - 1, -_LARGEST - 1), np.full(num_bins - 1, _LARGEST)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        reached = _formula(_bits_at(middle).astype(np.uint32).view(np.float32), num_bins) >= bins
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    if num_bins == _DB1_BINS:
        high += np.frombuffer(_DB1_STEPS.encode(), np.uint8).astype(np.int64) - ord("m")
    return high


def _formula(values: NDArray[np.float32], num_bins: int) -> NDArray[np.int32]:
    """Put numbers into bins by the float32 formula, with a logarithm that is rounded from an exact one."""
    with np.errstate(over="ignore"):
        powers = np.abs(values) * np.float32(MU) + np.float32(1.0)
    logarithm = np.log(powers.astype(np.float64)).astype(np.float32)
    scaled = np.clip(np.copysign(logarithm / _SPAN, values), np.float32(-1.0), np.float32(1.0))
    return np.minimum((scaled + np.float32(1.0)) * np.float32(num_bins / 2), np.float32(num_bins - 1)).astype(np.int32)


def _bits_at(places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(places < 0, ~places | _SIGN, places)


def _place_of(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(bits & _SIGN, ~(bits & ~_SIGN), bits)
