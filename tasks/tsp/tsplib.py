from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_TYPES = ("EUC_2D", "CEIL_2D", "GEO", "ATT", "EXPLICIT")
_FORMATS = ("FULL_MATRIX", "UPPER_ROW", "LOWER_ROW", "UPPER_DIAG_ROW", "LOWER_DIAG_ROW")
_EARTH_RADIUS_KM = 6378.388
_LONGEST = 2**53


def is_tsplib(path: Path, text: str) -> bool:
    """Return whether a file is one of TSPLIB's, by its name or by what it says."""
    return path.suffix.lower() == ".tsp" or re.search(r"^\s*EDGE_WEIGHT_TYPE\s*:", text, re.MULTILINE) is not None


def read_tsplib(path: Path, text: str) -> tuple[NDArray[np.float64] | None, NDArray[np.int64], bool]:
    """Read a symmetric travelling salesman problem of the types EUC_2D, CEIL_2D, GEO, ATT or EXPLICIT.

    Args:
        path: Where the text comes from, for messages.
        text: What the file holds.

    Returns:
        The points, shape (nodes, 2), or None where there are distances alone; whole-number distances as the type
        defines them, shape (nodes, nodes); and whether the points are latitude and longitude in degrees.

    Raises:
        ValueError: If the type is unknown, a value is no number, there are too few, or the matrix is not symmetric.

    Source:
        Reinelt, "TSPLIB 95", 1995, section 2.
    """
    heads, sections = _split(path, text)
    kind = heads.get("EDGE_WEIGHT_TYPE", ("", 0))
    if kind[0] not in _TYPES:
        raise ValueError(
            f"{path}, line {kind[1]}: EDGE_WEIGHT_TYPE is {kind[0]!r}; expected one of {', '.join(_TYPES)}"
        )
    dimension, line = heads.get("DIMENSION", ("", 0))
    if not dimension.isdigit() or int(dimension) < 3:
        raise ValueError(f"{path}, line {line}: DIMENSION is {dimension!r}; expected a whole number of at least 3")
    size = int(dimension)
    if kind[0] == "EXPLICIT":
        return None, _read_matrix(path, heads, sections.get("EDGE_WEIGHT_SECTION", []), size), False
    points = _read_points(path, sections.get("NODE_COORD_SECTION", []), size)
    if (np.abs(points) > _LONGEST).any():
        raise ValueError(f"{path}: a coordinate of {np.abs(points).max():g}; expected at most {_LONGEST:g}")
    if kind[0] == "GEO":
        degrees = np.trunc(points) + (points - np.trunc(points)) * 5 / 3  # the decimals are minutes
        if (np.abs(degrees) > (90, 180)).any():
            raise ValueError(f"{path}: degrees beyond 90 north or 180 east among {degrees.max(axis=0).tolist()}")
        return degrees, _geographic(points), True
    return points, _MEASURES[kind[0]](np.linalg.norm(points[:, None] - points, axis=2)), False


def _split(path: Path, text: str) -> tuple[dict[str, tuple[str, int]], dict[str, list[tuple[int, str]]]]:
    heads: dict[str, tuple[str, int]] = {}
    sections: dict[str, list[tuple[int, str]]] = {}
    rows: list[tuple[int, str]] | None = None
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if line == "EOF":
            break
        if line.rstrip(" :").endswith("_SECTION"):
            rows = sections.setdefault(line.rstrip(" :"), [])
        elif ":" in line:
            key, value = line.split(":", 1)
            heads[key.strip()], rows = (value.strip(), number), None
        elif line and rows is not None:
            rows.append((number, line))
        elif line:
            raise ValueError(f"{path}, line {number}: found {line!r}; expected KEY : VALUE or a section")
    return heads, sections


def _read_points(path: Path, rows: list[tuple[int, str]], size: int) -> NDArray[np.float64]:
    points = []
    for number, line in rows:
        values = [_number(path, number, word) for word in line.split()]
        if len(values) != 3:
            raise ValueError(f"{path}, line {number}: found {line!r}; expected a node's number and two coordinates")
        points.append(values[1:])
    if len(points) != size:
        raise ValueError(f"{path}: {len(points)} coordinates in NODE_COORD_SECTION; DIMENSION says {size}")
    return np.array(points)


def _read_matrix(
    path: Path, heads: dict[str, tuple[str, int]], rows: list[tuple[int, str]], size: int
) -> NDArray[np.int64]:
    form, line = heads.get("EDGE_WEIGHT_FORMAT", ("", 0))
    if form not in _FORMATS:
        raise ValueError(f"{path}, line {line}: EDGE_WEIGHT_FORMAT is {form!r}; expected {', '.join(_FORMATS)}")
    values = [_number(path, number, word) for number, line in rows for word in line.split()]
    places = {
        "FULL_MATRIX": np.nonzero(np.ones((size, size))),
        "UPPER_ROW": np.triu_indices(size, 1),
        "LOWER_ROW": np.tril_indices(size, -1),
        "UPPER_DIAG_ROW": np.triu_indices(size),
        "LOWER_DIAG_ROW": np.tril_indices(size),
    }[form]
    if len(values) != len(places[0]):
        raise ValueError(f"{path}: {len(values)} distances; {form} of {size} nodes has {len(places[0])}")
    given = np.array(values)
    if (given != np.rint(given)).any() or (np.abs(given) > _LONGEST).any():
        raise ValueError(f"{path}: a distance of {given[given != np.rint(given)][:1]}; expected whole numbers")
    distances = np.zeros((size, size), dtype=np.int64)
    distances[places] = given.astype(np.int64)
    if form != "FULL_MATRIX":
        distances = distances + distances.T
    np.fill_diagonal(distances, 0)
    return distances


def _number(path: Path, line: int, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: found {word!r}; expected a number")
    return value


def _pseudo_euclidean(plain: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.ceil(plain / math.sqrt(10.0)).astype(np.int64)


def _geographic(points: NDArray[np.float64]) -> NDArray[np.int64]:
    whole = np.trunc(points)
    latitude, longitude = (3.141592 * (whole + 5.0 * (points - whole) / 3.0) / 180.0).T  # TSPLIB's own pi
    apart = np.cos(longitude[:, None] - longitude)
    difference, total = np.cos(latitude[:, None] - latitude), np.cos(latitude[:, None] + latitude)
    inner = np.clip(0.5 * ((1.0 + apart) * difference - (1.0 - apart) * total), -1.0, 1.0)
    distances = (_EARTH_RADIUS_KM * np.arccos(inner) + 1.0).astype(np.int64)
    np.fill_diagonal(distances, 0)
    return distances


_MEASURES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.int64]]] = {
    "EUC_2D": lambda plain: np.floor(plain + 0.5).astype(np.int64),
    "CEIL_2D": lambda plain: np.ceil(plain).astype(np.int64),
    "ATT": _pseudo_euclidean,
}
