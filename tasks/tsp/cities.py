from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

CITIES_FILE = Path(__file__).with_name("cities.csv")
_MEND = "the vendored table comes back with: git checkout -- tasks/tsp/cities.csv"

Value = TypeVar("Value")


@dataclass(frozen=True)
class City:
    """One row of the city table.

    Args:
        id: GeoNames' number of the place.
        name_zh: Chinese name, empty where the source lists none.
        name: Latin name.
        latitude: Degrees north.
        longitude: Degrees east.
        population: People.
        province: First-level administrative division.
    """

    id: int
    name_zh: str
    name: str
    latitude: float
    longitude: float
    population: int
    province: str

    @property
    def held_out(self) -> bool:
        """Whether the city appears in no training instance; about one in ten, chosen by the hash of its id."""
        return hashlib.sha256(str(self.id).encode()).digest()[0] < 26


def load_cities(path: Path = CITIES_FILE) -> tuple[City, ...]:
    """Read a city table.

    Args:
        path: CSV file in UTF-8 with a header that names every field of ``City``.

    Returns:
        The cities in the order of the file.

    Raises:
        ValueError: If a column is missing, or a value is not what its column holds; names file, line and column.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(map(repr, missing))} among {list(reader.fieldnames or ())}; "
                f"expected the header {','.join(_COLUMNS)}; "
                + (_MEND if path == CITIES_FILE else "add what is missing to the file")
            )
        cities = tuple(_read_city(path, reader.line_num, row) for row in reader)
    ids = [city.id for city in cities]
    repeated = {city_id for city_id in ids if ids.count(city_id) > 1} if len(set(ids)) < len(ids) else set()
    if repeated:
        raise ValueError(f"{path}: column 'id' holds {sorted(repeated)} more than once; expected one row a city")
    return cities


@cache
def china() -> tuple[City, ...]:
    """Return the vendored table: the places of China with at least 100,000 people, most people first."""
    return load_cities()


def coordinates(cities: tuple[City, ...]) -> NDArray[np.float64]:
    """Return latitudes and longitudes in degrees, shape (cities, 2)."""
    return np.array([(city.latitude, city.longitude) for city in cities]).reshape(-1, 2)


def _whole_number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def within(limit: float) -> Callable[[str], float]:
    """Return a parser of the numbers from -limit to limit, which refuses others and what is no number."""

    def parse(text: str) -> float:
        value = float(text)
        if not -limit <= value <= limit:
            raise ValueError(text)
        return value

    return parse


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError(text)
    return text


_COLUMNS: dict[str, tuple[Callable[[str], int | float | str], str]] = {
    "id": (_whole_number, "a whole number >= 0"),
    "name_zh": (str, "text"),
    "name": (_text, "text that is not empty"),
    "latitude": (within(90), "degrees in -90..90"),
    "longitude": (within(180), "degrees in -180..180"),
    "population": (_whole_number, "a whole number >= 0"),
    "province": (str, "text"),
}


def _read_city(path: Path, line: int, row: dict[str, str | None]) -> City:
    values = {}
    for column, (parse, expected) in _COLUMNS.items():
        values[column] = read_value(path, line, column, row[column], parse, expected)
    return City(**values)


def read_value(
    path: Path, line: int, column: str, text: str | None, parse: Callable[[str], Value], expected: str
) -> Value:
    """Parse one value of a table.

    Raises:
        ValueError: If it is not what its column holds; names file, line and column.
    """
    try:
        return parse(text or "")
    except ValueError:
        raise ValueError(f"{path}, line {line}, column {column!r}: found {text!r}; expected {expected}") from None
