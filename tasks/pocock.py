from __future__ import annotations

import math
from functools import cache

import numpy as np

_NODES, _FAR = 64, 8.0  # of the integral over a normal variable, and where its density ends


@cache
def confidence_of_a_look(confidence: float, looks: int) -> float:
    """Return the confidence of each look's intervals by which all looks together err no more often than one would.

    Means of data that double from look to look, each in units of its standard error, are a chain of normal variables
    with correlation ``sqrt(1/2)`` between neighbours. The bound is the same at all looks, which wins early with what is
    clearly good, the first look's episodes being there anyway. That no mean of the chain exceeds it is integrated over
    one look after another.

    Args:
        confidence: Of two-sided intervals, if there were one look.
        looks: How many there are, at least 1.

    Source:
        Pocock, "Group sequential methods in the design and analysis of clinical trials", 1977 (the bound).
        Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data", 1969 (the integral).
    """
    if looks == 1:
        return confidence
    low, high = 0.0, _FAR
    while high - low > 1e-9:
        bound = (low + high) / 2
        too_often = 1 - _stays_below(bound, looks) > (1 - confidence) / 2
        low, high = (bound, high) if too_often else (low, bound)
    return math.erf(high / math.sqrt(2))


def _stays_below(bound: float, looks: int) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    reach = (bound + _FAR) / 2
    values, weights = reach * (nodes + 1) - _FAR, reach * weights
    step = np.sqrt(2) * values[:, None] - values[None, :]  # (to, from), in standard deviations of a step
    density = np.exp(-(values**2) / 2) / math.sqrt(2 * math.pi)
    for _ in range(looks - 1):
        density = np.exp(-(step**2) / 2) / math.sqrt(math.pi) @ (weights * density)
    return float(weights @ density)
