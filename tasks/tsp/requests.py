from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.tsp.cities import read_value, within
from tasks.tsp.distances import great_circle_m
from tasks.tsp.problem import EVALUATION, Instance
from tasks.tsp.projection import project_locally
from tasks.tsp.tsplib import is_tsplib, read_tsplib

MICROMETRES = 1_000_000
"""Parts that the unit of plain x and y is cut into, so that lengths are whole numbers."""

LARGEST = 5000
"""Most places that a file may hold."""

_DEGREES = ("latitude", "longitude")
_PLANE = ("x", "y")


@dataclass(frozen=True)
class Request:
    """Places that somebody wants a tour of.

    Args:
        names: The places' names, in the order of the file.
        points: What the file says of where they are, shape (places, 2): latitude and longitude, or x and y; None where
            it has distances alone.
        distances: Whole-number distances, shape (places, places).
        per_unit: Whole-number distance of one ``unit``.
        unit: Unit of lengths; empty where the file has none.
        is_on_earth: Whether points are degrees.
    """

    names: tuple[str, ...]
    points: NDArray[np.float64] | None
    distances: NDArray[np.int64]
    per_unit: int
    unit: str
    is_on_earth: bool

    @property
    def plane(self) -> NDArray[np.float64]:
        """The places in a plane, shape (places, 2); kilometres where they are on the earth.

        Raises:
            ValueError: If the file has distances alone.
        """
        if self.points is None:
            raise ValueError("the file has distances and no coordinates; expected points in a plane or degrees")
        return project_locally(self.points) if self.is_on_earth else self.points

    @property
    def instance(self) -> Instance:
        """The places as something to walk through.

        Raises:
            ValueError: If the file has distances alone.
        """
        return Instance((0, EVALUATION, 0), self.plane, self.distances, self.per_unit, self.unit)


def read_request(path: Path) -> Request:
    """Read places from a CSV file with the columns name, latitude and longitude, or x and y, or a TSPLIB file.

    Degrees become great-circle distances in whole metres, x and y plane distances in millionths of their unit; TSPLIB's
    types define their own.

    Args:
        path: The file, in UTF-8.

    Raises:
        ValueError: If the file is no such file, a value is not a number in its range, a place stands twice, or there
            are fewer than 3 places or too many; names file, line and value.
        FileNotFoundError: If there is no such file.
    """
    text = path.read_text(encoding="utf-8-sig")
    if is_tsplib(path, text):
        points, distances, is_on_earth = read_tsplib(path, text)
        _check_count(path, len(distances))
        return Request(tuple(str(k + 1) for k in range(len(distances))), points, distances, 1, "", is_on_earth)
    rows = csv.DictReader(text.splitlines())
    header = [column.strip().lower() for column in rows.fieldnames or ()]
    rows.fieldnames = header
    axes = next((pair for pair in (_DEGREES, _PLANE) if set(pair) <= set(header)), None)
    if axes is None:
        raise ValueError(
            f"{path}: the header is {','.join(header) or 'empty'}; expected name,latitude,longitude or x,y or a TSPLIB "
            "file"
        )
    names, points, seen = [], [], dict[tuple[float, float], int]()
    for row in rows:
        line = rows.line_num
        point = _number(path, line, axes[0], row[axes[0]]), _number(path, line, axes[1], row[axes[1]])
        if point in seen:
            raise ValueError(
                f"{path}, line {line}: {axes[0]} {point[0]:g} and {axes[1]} {point[1]:g} stand in line {seen[point]} "
                "too; expected each place once"
            )
        seen[point] = line
        points.append(point)
        names.append(row.get("name") or str(len(points)))
    _check_count(path, len(points))
    where = np.array(points)
    if axes == _DEGREES:
        return Request(tuple(names), where, great_circle_m(where), 1000, "km", is_on_earth=True)
    distances = MICROMETRES * np.linalg.norm(where[:, None] - where, axis=2)
    if distances.max() > 2**62:
        raise ValueError(f"{path}: two places lie {distances.max() / MICROMETRES:.3g} apart; measure in a larger unit")
    return Request(tuple(names), where, np.rint(distances).astype(np.int64), MICROMETRES, "", is_on_earth=False)


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    limit = {"latitude": 90, "longitude": 180}.get(column)
    if limit is None:
        return read_value(path, line, column, text, within(sys.float_info.max), "a finite number")
    return read_value(path, line, column, text, within(limit), f"degrees in -{limit}..{limit}")


def _check_count(path: Path, count: int) -> None:
    if not 3 <= count <= LARGEST:
        raise ValueError(f"{path}: found {count} places; expected 3 to {LARGEST}")
