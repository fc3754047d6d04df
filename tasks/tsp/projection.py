from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth in metres (IUGG)."""

STANDARD_PARALLELS = (25.0, 47.0)
CENTRAL_MERIDIAN = 105.0
ORIGIN_LATITUDE = 35.0


def project(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map degrees to the plane of China's maps: Lambert's conformal conic projection of the sphere.

    The parallels 25 and 47 degrees north keep their length and the meridian 105 degrees east is straight. Between
    places of China a planar distance is 0.98 to 1.03 times the great circle.

    Args:
        coordinates: Latitude and longitude in degrees, shape (places, 2).

    Returns:
        Kilometres east and north of (35 N, 105 E), shape (places, 2).

    Source:
        Snyder, "Map projections: a working manual", USGS Professional Paper 1395, 1987, equations 15-1 to 15-4.
    """
    latitude, longitude = np.radians(coordinates[:, 0]), np.radians(coordinates[:, 1] - CENTRAL_MERIDIAN)
    first, second = np.radians(STANDARD_PARALLELS)
    cone = np.log(np.cos(first) / np.cos(second)) / np.log(_slope(second) / _slope(first))
    factor = EARTH_RADIUS_M / 1000 * np.cos(first) * _slope(first) ** cone / cone
    radius = factor / _slope(latitude) ** cone
    origin = factor / _slope(np.radians(ORIGIN_LATITUDE)) ** cone
    return np.stack((radius * np.sin(cone * longitude), origin - radius * np.cos(cone * longitude)), axis=1)


def _slope(latitude: NDArray[np.float64] | np.float64) -> NDArray[np.float64] | np.float64:
    return np.tan(np.pi / 4 + latitude / 2)


def project_locally(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map degrees anywhere to a plane on which the way from the places' middle keeps its length and direction.

    Args:
        coordinates: Latitude and longitude in degrees, shape (places, 2).

    Returns:
        Kilometres east and north of the middle, shape (places, 2).

    Source:
        Snyder, "Map projections: a working manual", 1987, chapter 25 (azimuthal equidistant).
    """
    latitude, longitude = np.radians(coordinates).T
    along = np.cos(latitude)
    x, y, z = (along * np.cos(longitude)).mean(), (along * np.sin(longitude)).mean(), np.sin(latitude).mean()
    middle_latitude, middle_longitude = np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)
    turn = longitude - middle_longitude
    east = along * np.sin(turn)
    north = np.cos(middle_latitude) * np.sin(latitude) - np.sin(middle_latitude) * along * np.cos(turn)
    inner = np.sin(middle_latitude) * np.sin(latitude) + np.cos(middle_latitude) * along * np.cos(turn)
    away = np.arctan2(np.hypot(east, north), inner)
    stretch = EARTH_RADIUS_M / 1000 * away / np.maximum(np.hypot(east, north), 1e-12)
    return np.stack((stretch * east, stretch * north), axis=1)
