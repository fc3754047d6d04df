from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.tsp.projection import EARTH_RADIUS_M

UNIT_SQUARE_SCALE = 1_000_000
"""Whole-number distance of one side of the unit square."""


def great_circle_m(coordinates: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return all distances on the sphere by the haversine formula, rounded to whole metres.

    Args:
        coordinates: Latitude and longitude in degrees, shape (places, 2).

    Returns:
        Symmetric metres with a zero diagonal, shape (places, places).
    """
    latitude, longitude = np.radians(coordinates[:, 0]), np.radians(coordinates[:, 1])
    half_rise = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half_turn = np.sin((longitude[:, None] - longitude) / 2) ** 2
    chord = half_rise + np.cos(latitude)[:, None] * np.cos(latitude) * half_turn
    return _rounded(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))


def euclidean(points: NDArray[np.float64], scale: float = UNIT_SQUARE_SCALE) -> NDArray[np.int64]:
    """Return all distances in the plane times ``scale``, rounded to whole numbers, shape (points, points)."""
    difference = points[:, None] - points
    return _rounded(scale * np.sqrt((difference**2).sum(axis=2)))


def _rounded(distances: NDArray[np.float64]) -> NDArray[np.int64]:
    upper = np.triu(np.rint(distances), 1).astype(np.int64)
    return upper + upper.T
