from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tasks.charts import INK, MUTED, PALETTE, STYLE, draw_grid

_BETTER_OR_EQUAL, _WORSE = PALETTE[2], PALETTE[1]


def draw_differences(differences: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw challenger minus champion with its interval, a row each, on how many episodes, and where the margin lies.

    Args:
        differences: Rows with the fields of ``Difference``, as in ``Contest.to_json``; the first is drawn on top.

    Raises:
        ValueError: If there is no row.
    """
    if not differences:
        raise ValueError("a picture of differences needs at least one, found none")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.2 + 0.42 * len(differences)), layout="constrained")
        axes = figure.subplots()
        draw_grid(axes, "x")
        axes.axvline(0, color=MUTED, linewidth=1)
        for row, one in enumerate(differences):
            colour = _BETTER_OR_EQUAL if one["margin"] is None or one["low"] >= -one["margin"] else _WORSE
            axes.plot([100 * one["low"], 100 * one["high"]], [row, row], color=colour, linewidth=2.4)
            axes.plot([100 * one["difference"]], [row], "D", color=colour, markersize=6)
            if one["margin"] is not None:
                axes.plot([-100 * one["margin"]] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=1.6)
        names = [f"{one['name']} ({one['num_tasks']} x {one['num_pairs']})" for one in differences]
        axes.set_yticks(range(len(differences)), names, color=INK)
        axes.set_ylim(len(differences) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("challenger minus champion, % of the way from floor to expert (bars: what is allowed)")
        axes.set_title("of (tasks x episodes)", loc="left", fontsize="small", color=MUTED)
    return figure
