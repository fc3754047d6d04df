from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def find_mu_law_bins(
    numbers: NDArray[np.float32],
    bins: NDArray[np.int32],
    first_bins: NDArray[np.int32],
    edges: NDArray[np.float32],
    shift: int,
) -> bool:
    """Find the mu-law's bins of numbers.

    Args:
        numbers: The numbers, one dimension.
        bins: Gets their bins.
        first_bins: As ``mu_law_cells`` returns it, and so the other two.
        edges: See there.
        shift: See there.

    Returns:
        Whether all numbers are finite.
    """
    bits = numbers.view(np.uint32)
    smallest = np.int32(0)
    for i in range(len(numbers)):
        cell = bits[i] >> np.uint32(shift)
        found = first_bins[cell] + np.int32(numbers[i] >= edges[cell])
        bins[i] = found
        smallest = min(smallest, found)
    return bool(smallest >= 0)


@njit(cache=True, nogil=True)
def find_linear_bins(numbers: NDArray[np.float32], bins: NDArray[np.int32], num_bins: int) -> bool:
    """Find the bins of equal width over [-1, 1].

    Args:
        numbers: The numbers, one dimension.
        bins: Gets their bins.
        num_bins: Number of bins.

    Returns:
        Whether all numbers are finite.
    """
    half, last = np.float32(num_bins / 2), np.float32(num_bins - 1)
    finite = True
    for i in range(len(numbers)):
        number = numbers[i]
        finite &= abs(number) <= np.float32(3.4028235e38)
        scaled = (min(max(number, np.float32(-1.0)), np.float32(1.0)) + np.float32(1.0)) * half
        bins[i] = np.int32(min(scaled, last))
    return finite
