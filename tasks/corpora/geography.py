from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tasks.tsp.cities import City, china, coordinates
from tasks.tsp.distances import great_circle_m

NUM_CITIES, NUM_SPREAD = 60, 24
_CLOSE_M = 120_000


@cache
def largest_cities() -> tuple[City, ...]:
    """Return the ``NUM_CITIES`` cities of different names that have most people, the largest first."""
    by_name: dict[str, City] = {}
    for city in china():
        by_name.setdefault(city.name, city)
    return tuple(by_name.values())[:NUM_CITIES]


@cache
def spread_cities() -> tuple[City, ...]:
    """Return the ``NUM_SPREAD`` largest of them of which none is close to a larger one."""
    cities, apart_m = largest_cities(), ways_m()
    chosen: list[int] = []
    for place in range(len(cities)):
        if (apart_m[place, chosen] >= _CLOSE_M).all():
            chosen.append(place)
    return tuple(cities[place] for place in chosen[:NUM_SPREAD])


@cache
def ways_m() -> NDArray[np.int64]:
    """Return the great circles between the largest cities in metres, shape (cities, cities)."""
    return great_circle_m(coordinates(largest_cities()))
