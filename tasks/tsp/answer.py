from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from numpy.typing import NDArray

from storage.manifest import write_atomically
from tasks.charts import INK, MUTED, PALETTE
from tasks.tsp.projection import project_locally
from tasks.tsp.requests import Request
from tasks.tsp.solver import Solution

FILES = ("order.csv", "tour.png", "tour.svg", "tour.geojson")
"""What ``write_answer`` writes; the pictures where there are points, the last one where they are degrees."""

_MOST_NAMES = 40


def write_answer(folder: Path, request: Request, solution: Solution) -> list[Path]:
    """Write a tour as a table, as pictures and, on the earth, as GeoJSON.

    Args:
        folder: Where the files go; made if it is not there.
        request: The places.
        solution: Their tour.

    Returns:
        The files, in the order of ``FILES``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, bytes] = {"order.csv": _table(request, solution).encode()}
    if request.points is not None:
        figure = draw_answer(request, solution)
        for kind in ("png", "svg"):
            picture = io.BytesIO()
            figure.savefig(picture, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
            contents[f"tour.{kind}"] = picture.getvalue()
    if request.is_on_earth:
        contents["tour.geojson"] = json.dumps(_geojson(request, solution), ensure_ascii=False, indent=1).encode()
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in FILES if name in contents]


def draw_answer(request: Request, solution: Solution) -> Figure:
    """Draw a tour; places on the earth on a plane that is true to the middle of them.

    Raises:
        ValueError: If the places have no points.
    """
    if request.points is None:
        raise ValueError("the file has distances and no coordinates; expected points to draw")
    points = project_locally(request.points) if request.is_on_earth else request.points
    wide, high = np.maximum(np.ptp(points, axis=0), 1e-9)
    shape = np.clip(high / wide, 0.5, 1.5)
    figure = Figure(figsize=(9.0, 9.0 * shape + 0.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    closed = np.append(solution.tour, solution.tour[0])
    axes.plot(*points[closed].T, color=PALETTE[0], linewidth=1.6, zorder=1)
    axes.scatter(*points.T, s=14, color=INK, linewidths=0, zorder=2)
    axes.scatter(*points[solution.tour[:1]].T, s=80, marker="s", facecolors="none", edgecolors=INK, zorder=3)
    if len(points) <= _MOST_NAMES:
        for name, point in zip(request.names, points, strict=True):
            text = axes.annotate(name, point, xytext=(5, 4), textcoords="offset points", fontsize=9, color=INK)
            text.set_path_effects([patheffects.withStroke(linewidth=2.4, foreground="white")])
    axes.margins(0.1)
    axes.set_title(describe(request, solution), loc="left", fontsize=11, color=INK)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(MUTED)
    return figure


def describe(request: Request, solution: Solution) -> str:
    """Return length and certificate in one line."""
    length = f"{solution.length / request.per_unit:,.7g} {request.unit}".strip()
    if solution.is_proven:
        return f"{len(request.names)} places, {length}: proven to be the shortest tour"
    return f"{len(request.names)} places, {length}: at most {100 * solution.gap:.3f} % above the shortest"


def _table(request: Request, solution: Solution) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    legs = request.distances[solution.tour, np.roll(solution.tour, -1)] / request.per_unit
    columns = [] if request.points is None else ["latitude", "longitude"] if request.is_on_earth else ["x", "y"]
    writer.writerow(["place", "name", *columns, f"to_next{'_' + request.unit if request.unit else ''}"])
    for node, leg in zip(solution.tour.tolist(), legs.tolist(), strict=True):
        where: list[float] = [] if request.points is None else request.points[node].tolist()
        writer.writerow([node + 1, request.names[node], *where, f"{leg:.6g}"])
    return out.getvalue()


def _geojson(request: Request, solution: Solution) -> dict[str, object]:
    def place(at: NDArray[np.float64]) -> list[float]:
        return [float(at[1]), float(at[0])]  # GeoJSON puts the longitude first

    points = np.empty((0, 2)) if request.points is None else request.points
    closed = [place(points[node]) for node in [*solution.tour.tolist(), int(solution.tour[0])]]
    line = {
        "type": "Feature",
        "geometry": {"type": "LineString", "coordinates": closed},
        "properties": {
            "length_km": solution.length / request.per_unit,
            "lower_bound_km": solution.lower_bound / request.per_unit,
            "proven": solution.is_proven,
        },
    }
    stops = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": place(points[node])},
            "properties": {"name": request.names[node], "stop": stop},
        }
        for stop, node in enumerate(solution.tour.tolist(), start=1)
    ]
    return {"type": "FeatureCollection", "features": [line, *stops]}
