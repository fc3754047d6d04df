from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from storage.episode import Episode
from tasks.charts import INK, MUTED, PALETTE
from tasks.records import EvaluationRecord
from tasks.tsp.cities import china, coordinates
from tasks.tsp.instances import problem_of
from tasks.tsp.problem import Instance
from tasks.tsp.projection import project
from tasks.tsp.tour import check_tour, edges_of

BLUE, ORANGE = PALETTE[0], PALETTE[1]
PAPER, FAINT = "#fbfaf7", "#d3d6da"
NUM_NAMES, NAME_DISTANCE_KM = 11, 330.0


def draw_tours(expert: Episode, model: Episode) -> Figure:
    """Draw the expert's and the model's tour of one instance side by side, over China or on the unit square.

    Legs that the expert's tour does not have are orange; rings are cities that no training instance contains.

    Args:
        expert: Expert's episode, with its lower bound in the provenance where it has one.
        model: Model's episode of the same task and seed.

    Raises:
        ValueError: If the two are not of one task and seed, or have no tour in their summary.
    """
    if (expert.task, expert.seed) != (model.task, model.seed):
        raise ValueError(
            f"tours of {expert.task!r} seed {expert.seed} and {model.task!r} seed {model.seed}; expected one instance"
        )
    instance = problem_of(expert.task).draw_instance(expert.seed)
    tours = [_tour_of(episode, instance) for episode in (expert, model)]
    lengths = [-expert.total_return, -model.total_return]
    figure = Figure(figsize=(12.4, 6.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = ("Expert", "Model")
    notes = (_certificate(expert), f"{100 * (lengths[1] / lengths[0] - 1):+.1f} % against the expert")
    for axes, tour, title, length, note in zip(panels, tours, titles, lengths, notes, strict=True):
        _draw_background(axes, instance)
        _draw_tour(axes, instance, tour, edges_of(tours[0]))
        shown = f"{length:,.0f} km" if instance.unit == "km" else f"{length:.3f} sides"
        axes.set_title(f"{title}  {shown}", loc="left", fontsize=14, fontweight="bold", color=INK, pad=9)
        axes.set_title(note, loc="right", fontsize=11, color=MUTED, pad=9)
    figure.legend(handles=_legend(instance), loc="outside lower center", ncols=6, frameon=False, fontsize=10)
    return figure


def draw_gaps(records: Sequence[EvaluationRecord]) -> Figure:
    """Draw by how much each method's closed tours are longer than the expert's: a dot an episode, a bar their mean.

    Below zero stands the lower bound, where expert episodes with a certificate are there: no tour is shorter.

    Args:
        records: Evaluations of tasks of this family; episodes are compared seed by seed.

    Raises:
        ValueError: If there is no record, or a method was not measured on the seeds of the expert.
    """
    if not records:
        raise ValueError("a chart of gaps needs at least one evaluation of a task of the family tsp, found none")
    figure = Figure(figsize=(9.6, 0.6 + 1.9 * len(records)), layout="constrained")
    for axes, record in zip(figure.subplots(len(records), 1, sharex=True, squeeze=False)[:, 0], records, strict=True):
        methods = _gaps(record)
        for row, method in enumerate(methods):
            mean = float(method.gaps.mean())
            axes.barh(row, mean, height=0.62, color=method.colour, alpha=0.28, linewidth=0)
            spread = 0.22 * np.linspace(-1, 1, len(method.gaps)) if len(method.gaps) > 1 else np.zeros(1)
            axes.scatter(method.gaps, row + spread, s=13, color=method.colour, alpha=0.75, linewidths=0, zorder=3)
            axes.plot([mean, mean], [row - 0.33, row + 0.33], color=method.colour, linewidth=2.4, zorder=4)
            label = f"{mean:.1f} %" if abs(mean) >= 0.95 or mean == 0 else f"{mean:.2f} %"
            right = max(float(method.gaps.max()), mean, 0.0)
            axes.annotate(
                label, (right, row), xytext=(7, 0), textcoords="offset points", va="center", fontsize=10, color=INK
            )
        axes.set_yticks(range(len(methods)), [method.name for method in methods], fontsize=10, color=INK)
        axes.invert_yaxis()
        axes.axvline(0, color=MUTED, linewidth=0.9, zorder=2)
        axes.set_title(record.task, loc="left", fontsize=11, fontweight="bold", color=INK)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
        axes.margins(x=0.09)
    figure.axes[-1].set_xlabel("length of the closed tour over the expert's, %", fontsize=10, color=INK)
    return figure


@dataclass(frozen=True)
class _Method:
    name: str
    gaps: NDArray[np.float64]  # per cent, shape (episodes,)
    colour: str


def _gaps(record: EvaluationRecord) -> list[_Method]:
    expert = dict(
        zip(record.reference_scores["expert"]["seeds"], record.reference_scores["expert"]["returns"], strict=True)
    )
    methods = []
    names = (
        ("nearest_neighbour", "nearest neighbour", MUTED),
        ("or_tools", "OR-Tools routing", PALETTE[2]),
        ("or_tools_guided", "OR-Tools, guided", PALETTE[3]),
        ("local_search", "local search", PALETTE[4]),
    )
    for key, name, colour in names:
        if key in record.reference_scores:
            scores = record.reference_scores[key]
            methods.append(_Method(name, _compare(record, scores["seeds"], scores["returns"], expert), colour))
    model = _Method("model", _compare(record, record.seeds, record.returns, expert), ORANGE)
    methods.insert(1 if methods else 0, model)
    methods.append(_Method("expert", np.zeros(len(expert)), BLUE))
    certified = [episode.provenance for episode in record.expert_episodes if "lower_bound" in episode.provenance]
    if certified:
        bounds = np.array([100 * (found["lower_bound"] / found["length"] - 1) for found in certified])
        methods.append(_Method("lower bound", bounds, PALETTE[6]))
    return methods


def _compare(
    record: EvaluationRecord, seeds: Sequence[int], returns: Sequence[float], expert: dict[int, float]
) -> NDArray[np.float64]:
    common = [(value, expert[seed]) for seed, value in zip(seeds, returns, strict=True) if seed in expert]
    if not common:
        raise ValueError(
            f"task {record.task!r}: no seed of {list(seeds)[:5]} among the expert's {list(expert)[:5]}; "
            "expected reference scores of the evaluation's seeds (db1 run evaluation makes them)"
        )
    return np.array([100 * (value / reference - 1) for value, reference in common])


def _tour_of(episode: Episode, instance: Instance) -> NDArray[np.int64]:
    if "summary" not in episode.provenance:
        raise ValueError(f"the episode of {episode.task!r}, seed {episode.seed}, has no summary with its tour")
    return check_tour(episode.provenance["summary"]["tour"], instance.num_nodes)


def _certificate(expert: Episode) -> str:
    if "lower_bound" not in expert.provenance:
        return ""
    excess = expert.provenance["length"] / expert.provenance["lower_bound"] - 1
    if excess == 0:
        return "proven to be the shortest"
    return f"at most {100 * excess:.2f} % above the shortest"


def _draw_background(axes: Axes, instance: Instance) -> None:
    axes.set_aspect("equal")
    axes.set_facecolor(PAPER)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    if instance.city_rows is None:
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        return
    everywhere = project(coordinates(china()))
    axes.scatter(*everywhere.T, s=5, color=FAINT, linewidths=0, zorder=1)
    (west, south), (east, north) = everywhere.min(axis=0), everywhere.max(axis=0)
    axes.set(xlim=(west - 150, east + 260), ylim=(south - 150, north + 150))
    axes.plot([west, west + 500], [south, south], color=MUTED, linewidth=1.4, solid_capstyle="butt")
    axes.annotate("500 km", (west + 250, south), xytext=(0, 4), textcoords="offset points", ha="center", color=MUTED)


def _draw_tour(axes: Axes, instance: Instance, tour: NDArray[np.int64], expert: set[tuple[int, int]]) -> None:
    points = instance.points
    legs = np.stack((points[tour], points[np.roll(tour, -1)]), axis=1)
    own = np.array([(min(u, v), max(u, v)) not in expert for u, v in zip(tour, np.roll(tour, -1), strict=True)])
    for chosen, colour in ((~own, BLUE), (own, ORANGE)):
        axes.add_collection(
            LineCollection(list(legs[chosen]), colors=colour, linewidths=1.7, capstyle="round", zorder=2)
        )
    held_out = _held_out(instance)
    axes.scatter(*points[~held_out].T, s=15, color=INK, linewidths=0, zorder=3)
    axes.scatter(*points[held_out].T, s=30, facecolors="white", edgecolors=INK, linewidths=1.4, zorder=4)
    axes.scatter(*points[tour[:1]].T, s=70, marker="s", facecolors="none", edgecolors=INK, linewidths=1.6, zorder=5)
    for node, name in _names(instance):
        text = axes.annotate(
            name, points[node], xytext=(5, 4), textcoords="offset points", fontsize=8.5, color=INK, zorder=6
        )
        text.set_path_effects([patheffects.withStroke(linewidth=2.6, foreground=PAPER)])


def _held_out(instance: Instance) -> NDArray[np.bool_]:
    if instance.city_rows is None:
        return np.zeros(instance.num_nodes, dtype=np.bool_)
    cities = china()
    return np.array([cities[row].held_out for row in instance.city_rows])


def _names(instance: Instance) -> list[tuple[int, str]]:
    """Choose the largest cities that are not too close to a larger one to be named."""
    if instance.city_rows is None:
        return []
    cities, named = china(), []
    for node in np.argsort(instance.city_rows, kind="stable").tolist():
        distances = [np.linalg.norm(instance.points[node] - instance.points[other]) for other, _ in named]
        if len(named) < NUM_NAMES and all(distance > NAME_DISTANCE_KM for distance in distances):
            named.append((node, cities[instance.city_rows[node]].name))
    return named


def _legend(instance: Instance) -> list[Line2D]:
    def dot(label: str, **style: object) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, color=INK, **style)  # pyright: ignore[reportArgumentType]

    handles = [
        Line2D([], [], color=BLUE, linewidth=2, label="leg of the expert's tour"),
        Line2D([], [], color=ORANGE, linewidth=2, label="other leg"),
        dot("start", marker="s", markersize=8, markerfacecolor="none"),
    ]
    if instance.city_rows is not None:
        handles += [
            dot("city", marker="o", markersize=4),
            dot("city never seen in training", marker="o", markersize=6, markerfacecolor="white"),
            Line2D([], [], linestyle="none", label="cities: GeoNames, CC BY 4.0"),
        ]
    return handles
