from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

INK = "#1c2430"
MUTED = "#667080"
GRID = "#e3e7ec"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5B4B8A", "#7F7F7F")
"""Colours that stay apart for colour-blind readers.

Source: Okabe and Ito, "Color universal design", 2008 (its yellow and black replaced by a violet and a grey).
"""

PUBLISHED_SHARES = (("DB1, 870 tasks", 0.7667), ("Gato, 604 tasks", 0.75))
"""Share of tasks at or above half of the expert's performance.

Sources: DB1, arXiv 2212.12669 (667 of 870); Gato, arXiv 2205.06175 (about 453 of 604).
"""

STYLE: Any = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}
"""What all figures look like, for ``matplotlib.rc_context``."""

_SHOWN_SCORES = (-0.5, 1.5)
_BIN = 0.025


def to_png(figure: Figure, *, dpi: int = 160) -> bytes:
    """Render a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def family_colours(families: Sequence[str]) -> dict[str, str]:
    """Give every family a colour by its place in ``families``; the colours repeat after eight."""
    return {family: PALETTE[place % len(PALETTE)] for place, family in enumerate(families)}


def draw_threshold_curve(scores: Sequence[float]) -> Figure:
    """Draw the share and the number of tasks at or above each percentage of expert performance.

    Args:
        scores: Expert-normalised scores of the tasks that have one, 1 = expert.

    Raises:
        ValueError: If there is no score.
    """
    if len(scores) == 0:
        raise ValueError("a threshold curve needs at least one expert-normalised score, found none")
    values = np.sort(np.asarray(scores, dtype=np.float64))
    thresholds = np.linspace(0.0, 1.2, 601)
    at_or_above = len(values) - np.searchsorted(values, thresholds, side="left")
    at_half = int(np.sum(values >= 0.5))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.9), layout="constrained")
        axes = figure.subplots()
        draw_grid(axes)
        axes.plot(100 * thresholds, 100 * at_or_above / len(values), color=INK, drawstyle="steps-post")
        share = at_half / len(values)
        above = share > max(published for _, published in PUBLISHED_SHARES)
        axes.plot([50], [100 * share], "o", color=INK, markersize=8, zorder=5)
        # The curve falls: left of and below its point, and right of and above it, nothing is in the way of words.
        axes.annotate(
            f"{at_half} of {len(values)} tasks ({100 * share:.1f} %)",
            (50, 100 * share),
            xytext=(9, 9) if above else (-9, -16),
            textcoords="offset points",
            ha="left" if above else "right",
            fontweight="bold",
        )
        for (label, published), offset in zip(PUBLISHED_SHARES, (1, -11), strict=True):
            axes.plot([48.5, 51.5], [100 * published] * 2, color=MUTED, linewidth=1.6, zorder=4)
            axes.annotate(
                f"{label}: {100 * published:.2f} %",
                (50, 100 * published),
                xytext=(-14 if above else 14, offset),
                textcoords="offset points",
                ha="right" if above else "left",
                fontsize=9.5,
                color=MUTED,
            )
        axes.set(xlim=(0, 120), ylim=(0, 112), yticks=range(0, 101, 20))
        axes.set_xlabel("at least x % of the way from floor to expert")
        axes.set_ylabel("share of tasks, %")
        numbers = axes.twinx()
        numbers.set_ylim(0, 1.12 * len(values))
        numbers.set_ylabel("number of tasks")
        numbers.spines["right"].set_visible(True)
        numbers.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return figure


def draw_scores(
    scores: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float, float]], *, unit: str = "tasks"
) -> Figure:
    """Draw every task as a dot at its score, one row a family, and under them the family's interquartile mean.

    The dots stand in bins of 2.5 %, of which 50 % is an edge.

    Args:
        scores: Expert-normalised scores by family, 1 = expert; a family without any is left out.
        intervals: Interquartile mean and the lower and upper end of its 95 % interval, by family.
        unit: What a dot is, in the plural; with ``episodes`` a row is a task and a dot one of its episodes.

    Raises:
        ValueError: If no family has a score.
    """
    families = [family for family, values in scores.items() if len(values) > 0]
    if not families:
        raise ValueError("a distribution needs at least one expert-normalised score, found none")
    colours = family_colours(list(scores))
    low, high = _SHOWN_SCORES
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.3 + 0.95 * len(families)), layout="constrained")
        axes = figure.subplots()
        draw_grid(axes, "x")
        axes.axvline(50, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for place, family in enumerate(families):
            row = len(families) - 1 - place
            values = np.asarray(scores[family], dtype=np.float64)
            binned = (np.floor(values / _BIN + 1e-9) + 0.5) * _BIN
            shown = np.clip(binned, low, high)
            heights = row + 0.08 + _pile(shown)
            for inside, marker in ((binned == shown, "o"), (binned < low, "<"), (binned > high, ">")):
                axes.plot(
                    100 * shown[inside],
                    heights[inside],
                    marker,
                    color=colours[family],
                    markersize=5.5,
                    markeredgewidth=0,
                    clip_on=False,
                )
            mean, lowest, highest = intervals[family]
            axes.plot(100 * np.clip([lowest, highest], low, high), [row - 0.16] * 2, color=INK, linewidth=1.6)
            axes.plot(
                [100 * float(np.clip(mean, low, high))], [row - 0.16], "D", color=INK, markersize=5.5, clip_on=False
            )
            axes.annotate(
                f"{100 * mean:.0f} %  [{100 * lowest:.0f}, {100 * highest:.0f}]".replace("-", "\N{MINUS SIGN}"),
                (1.01, row - 0.16),
                xycoords=axes.get_yaxis_transform(),
                va="center",
                fontsize=10,
                annotation_clip=False,
            )
        labels = [f"{family}\n{len(scores[family])} {unit}" for family in reversed(families)]
        axes.set(xlim=(100 * low, 100 * high), ylim=(-0.5, len(families) - 0.3))
        axes.set_yticks(range(len(families)), labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("expert-normalised score, % (0 = floor, 100 = expert)")
    return figure


def draw_learning_curve(curve: Sequence[Mapping[str, float]], published_score: float) -> Figure:
    """Draw how well a specialist's policy did as its training went on.

    Args:
        curve: Rows with ``steps``, and ``mean_return``, ``lowest`` and ``highest`` of its validation episodes.
        published_score: What its recipe's source reports; drawn as a line.
    """
    steps, mean, lowest, highest = (
        np.array([row[name] for row in curve], dtype=np.float64)
        for name in ("steps", "mean_return", "lowest", "highest")
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        axes = figure.subplots()
        draw_grid(axes)
        axes.fill_between(steps, lowest, highest, color=PALETTE[0], alpha=0.15, linewidth=0)
        axes.plot(steps, mean, color=PALETTE[0], linewidth=1.6, label="mean (band: lowest to highest)")
        axes.axhline(published_score, color=PALETTE[1], linewidth=1.2, linestyle="--", label="published")
        axes.set_ylabel("return of an episode")
        axes.set_xlabel("steps in the environment")
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.set_xlim(left=0)
        axes.legend(frameon=False, fontsize=9)
    return figure


def draw_training_curve(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw loss, learning rate and throughput over the steps of a training run.

    Args:
        history: Rows of the training log: ``step``, ``loss``, and where there, ``learning_rate`` and
            ``tokens_per_s`` or ``positions_per_s``.

    Raises:
        ValueError: If there is no row, or a row has no step or no loss.
    """
    if not history or any("step" not in row or "loss" not in row for row in history):
        raise ValueError(f"a training curve needs rows with 'step' and 'loss', found {list(history[:1])}")
    panels = ["loss", *(name for name in _PANELS if all(name in row for row in history))]
    steps = np.array([row["step"] for row in history], dtype=np.float64)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 2.2 + 1.3 * (len(panels) - 1)), layout="constrained")
        rows = figure.subplots(
            len(panels), 1, sharex=True, squeeze=False, height_ratios=[2.2, *[1.1] * len(panels)][: len(panels)]
        )
        for axes, name in zip(rows[:, 0], panels, strict=True):
            draw_grid(axes)
            values = np.array([row[name] for row in history], dtype=np.float64)
            if name == "loss":
                axes.plot(steps, values, color=PALETTE[0], linewidth=1, alpha=0.35)
                axes.plot(steps, _smooth(values), color=PALETTE[0])
                axes.set_ylabel("loss, nats per token\n(thick: running mean)")
            else:
                axes.plot(steps, values, color=PALETTE[0], linewidth=1.6)
                axes.set_ylabel(_PANELS[name])
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4 if name == "loss" else 3))
            if name.endswith("_per_s"):
                axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
            if name == "learning_rate":
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        rows[-1, 0].set_xlabel("optimiser step")
        rows[-1, 0].set_xlim(left=0)
        figure.align_ylabels()
    return figure


_PANELS = {
    "learning_rate": "learning rate",
    "tokens_per_s": "tokens / s",
    "positions_per_s": "positions / s",
}


def draw_grid(axes: Axes, axis: str = "y") -> None:
    """Draw faint lines across one axis."""
    axes.grid(axis=axis, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def _pile(values: NDArray[np.float64], *, tallest: float = 0.5) -> NDArray[np.float64]:
    """Stack the dots of equal values; if a stack is too tall, all are squeezed."""
    places = np.zeros(len(values))
    for value in np.unique(values):
        inside = np.flatnonzero(values == value)
        places[inside] = np.arange(len(inside))
    return places * min(0.1, tallest / max(1.0, float(places.max(initial=1.0))))


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running mean over a twentieth of the rows, centred, shorter at both ends."""
    reach = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centre = np.arange(len(values))
    first, last = np.maximum(0, centre - reach), np.minimum(len(values), centre + reach + 1)
    return (sums[last] - sums[first]) / (last - first)
