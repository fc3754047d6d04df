from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from storage.manifest import write_atomically
from tasks.charts import INK, MUTED, PALETTE
from tasks.tsp.requests import Request
from tasks.tsp.solver import Solution
from tasks.tsp.tour import Tour, edges_of, tour_length

FILES = ("order.csv", "order-model.csv", "tour.png", "tour.svg", "tour.geojson")
"""What ``write_answer`` writes: the second with a model's tour, pictures of points, the last one of degrees."""

_MOST_NAMES, _NAMES_APART = 40, 0.035  # the second as a share of the picture's width


def write_answer(folder: Path, request: Request, solution: Solution, walk: Tour | None = None) -> list[Path]:
    """Write a tour as a table, as pictures and, on the earth, as GeoJSON, and a model's tour beside it.

    A file that an earlier call left and this one has nothing to say in is removed.

    Args:
        folder: Where the files go; made if it is not there.
        request: The places.
        solution: Their tour.
        walk: A model's tour of them, shape (places,).

    Returns:
        The files, in the order of ``FILES``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, bytes] = {"order.csv": _table(request, solution.tour).encode()}
    if walk is not None:
        contents["order-model.csv"] = _table(request, walk).encode()
    if request.points is not None:
        figure = draw_answer(request, solution, walk)
        for kind in ("png", "svg"):
            picture = io.BytesIO()
            figure.savefig(picture, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
            contents[f"tour.{kind}"] = picture.getvalue()
    if request.is_on_earth:
        contents["tour.geojson"] = json.dumps(_geojson(request, solution, walk), ensure_ascii=False, indent=1).encode()
    for name in FILES:
        if name in contents:
            write_atomically(folder / name, contents[name])
        else:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in FILES if name in contents]


def draw_answer(request: Request, solution: Solution, walk: Tour | None = None) -> Figure:
    """Draw a tour, and a model's beside it; places on the earth on a plane that is true to the middle of them.

    Legs of the model's that the tour does not have are orange.

    Raises:
        ValueError: If the places have no points.
    """
    points = request.plane
    wide, high = np.maximum(np.ptp(points, axis=0), 1e-9)
    shape = np.clip(high / wide, 0.5, 1.5)
    tours = [(solution.tour, describe(request, solution))]
    if walk is not None:
        excess = tour_length(request.distances, walk) / max(1, solution.length) - 1
        tours.append((walk, f"the model's: {100 * excess:+.2f} %"))
    known = edges_of(solution.tour)
    figure = Figure(figsize=(9.0 * len(tours), 9.0 * shape + 0.4), layout="constrained")
    for axes, (tour, title) in zip(figure.subplots(1, len(tours), squeeze=False)[0], tours, strict=True):
        axes.set_aspect("equal")
        legs = np.stack([tour, np.roll(tour, -1)], axis=1)
        colours = [PALETTE[0 if (leg.min(), leg.max()) in known else 1] for leg in legs]
        axes.add_collection(LineCollection(list(points[legs]), colors=colours, linewidths=1.6, capstyle="round"))
        axes.scatter(*points.T, s=14, color=INK, linewidths=0, zorder=2)
        axes.scatter(*points[tour[:1]].T, s=80, marker="s", facecolors="none", edgecolors=INK, zorder=3)
        for place in _named(points):
            name, point = request.names[place], points[place]
            text = axes.annotate(name, point, xytext=(5, 4), textcoords="offset points", fontsize=9, color=INK)
            text.set_path_effects([patheffects.withStroke(linewidth=2.4, foreground="white")])
        axes.margins(0.1)
        axes.set_title(title, loc="left", fontsize=11, color=INK)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(MUTED)
    return figure


def _named(points: NDArray[np.float64]) -> list[int]:
    """Choose places whose names do not lie on each other, the first ones first; none where there are many places."""
    named: list[int] = []
    apart = _NAMES_APART * float(np.ptp(points, axis=0).max())
    for place in range(len(points) if len(points) <= _MOST_NAMES else 0):
        if all(np.linalg.norm(points[place] - points[other]) > apart for other in named):
            named.append(place)
    return named


def describe(request: Request, solution: Solution) -> str:
    """Return length and certificate in one line."""
    length = f"{solution.length / request.per_unit:,.7g} {request.unit}".strip()
    if solution.is_proven:
        return f"{len(request.names)} places, {length}: proven to be the shortest tour"
    return f"{len(request.names)} places, {length}: at most {100 * solution.gap:.3f} % above the shortest"


def _table(request: Request, tour: Tour) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    legs = request.distances[tour, np.roll(tour, -1)] / request.per_unit
    columns = [] if request.points is None else ["latitude", "longitude"] if request.is_on_earth else ["x", "y"]
    writer.writerow(["place", "name", *columns, f"to_next{'_' + request.unit if request.unit else ''}"])
    for node, leg in zip(tour.tolist(), legs.tolist(), strict=True):
        where: list[float] = [] if request.points is None else request.points[node].tolist()
        writer.writerow([node + 1, request.names[node], *where, f"{leg:.6g}"])
    return out.getvalue()


def _geojson(request: Request, solution: Solution, walk: Tour | None) -> dict[str, object]:
    def place(at: NDArray[np.float64]) -> list[float]:
        return [float(at[1]), float(at[0])]  # GeoJSON puts the longitude first

    points = np.empty((0, 2)) if request.points is None else request.points

    def line(tour: Tour, properties: dict[str, object]) -> dict[str, object]:
        closed = [place(points[node]) for node in [*tour.tolist(), int(tour[0])]]
        length = tour_length(request.distances, tour) / request.per_unit
        geometry = {"type": "LineString", "coordinates": closed}
        return {"type": "Feature", "geometry": geometry, "properties": {"length_km": length, **properties}}

    certificate = {"lower_bound_km": solution.lower_bound / request.per_unit, "proven": solution.is_proven}
    lines = [line(solution.tour, {"tour": "solver", **certificate})]
    if walk is not None:
        lines.append(line(walk, {"tour": "model"}))
    stops = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": place(points[node])},
            "properties": {"name": request.names[node], "stop": stop},
        }
        for stop, node in enumerate(solution.tour.tolist(), start=1)
    ]
    return {"type": "FeatureCollection", "features": [*lines, *stops]}
