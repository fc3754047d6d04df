from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Annotated, TypeVar

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.resources import Stores
from assets.tokens import read_tokenizer
from db1_model.inspection import InspectedToken, inspect_step
from db1_model.layout import StepLayout
from db1_model.round_trip import Dimension, RoundTrip
from pipelines.experiments import get_experiment
from pipelines.terminal import print_table
from storage.manifest import ManifestError
from storage.tokens import StoredTokens
from tasks.filter import FilteredEpisodes
from tasks.registry import get_task

Row = TypeVar("Row")
console = Console(highlight=False)
_NOTABLE = 0.01  # share of saturated values from which on they stand out


def tokens(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of a task.", show_default=False)],
    episode: Annotated[
        int | None, typer.Option(help="Its number; without it, all episodes are measured and the first is shown.")
    ] = None,
    step: Annotated[int, typer.Option(min=0, help="The step that is shown.")] = 0,
    experiment: Annotated[str, typer.Option("--experiment", "-e", help="Whose tokenizer and model.")] = "demo",
) -> None:
    """Show a step of an expert's episode as tokens and back, and what each of its numbers loses on the way."""
    task, chosen = get_task(task_id), get_experiment(experiment)
    stores = Stores.from_environment()
    text, vocabulary = read_tokenizer(stores, chosen)
    episodes, stored = _open(stores, task.id, vocabulary.digest)
    number, layout, model = episode or 0, StepLayout.from_json(stored.layout), chosen.model
    if not 0 <= number < len(episodes):
        raise ValueError(f"task {task.id!r} has {len(episodes)} episodes; expected --episode 0..{len(episodes) - 1}")
    one, encoded = episodes[number], stored[number]
    if step >= len(encoded):
        steps = len(encoded)
        raise ValueError(f"episode {number} of {task.id!r} has {steps} steps; expected --step 0..{steps - 1}")
    found = inspect_step(one, encoded, step, layout, text, vocabulary, patch_size=model.patch_size, edge=model.bin_edge)
    console.print(
        f"[bold]{task.id}[/], episode {number} of {len(episodes)} (seed {one.seed}, return {one.total_return:,.4g}), "
        f"step {step} of {len(encoded)}: {layout.step_tokens} tokens",
        soft_wrap=True,
    )
    print_table(console, _draw_tokens(found))
    measured = RoundTrip(layout, text, vocabulary, edge=model.bin_edge)
    for place in range(len(episodes)) if episode is None else [number]:
        measured.add(episodes[place], stored[place].tokens)
    what = f"all {len(episodes)} episodes" if episode is None else f"episode {number}"
    console.print(f"[bold]each number over {what}[/]")
    print_table(console, _draw_dimensions(measured.dimensions()))
    for line in _summarise(measured):
        console.print(line, soft_wrap=True)


def _open(stores: Stores, task_id: str, vocabulary_digest: str) -> tuple[FilteredEpisodes, StoredTokens]:
    episodes, stored = stores.trajectories.read(task_id), stores.tokens.read(task_id)
    if stored.layout["vocabulary_digest"] != vocabulary_digest:
        raise ManifestError("tokens", task_id, f"they are of another vocabulary, expected {vocabulary_digest[:12]}...")
    if stored.manifest.recipe["trajectories"] != episodes.manifest.digest:
        raise ManifestError("tokens", task_id, "they are of other episodes than those that are stored now")
    return FilteredEpisodes(episodes, stored.manifest.recipe.get("minimum_return_share", 0.0)), stored


def _draw_tokens(found: Sequence[InspectedToken]) -> Table:
    table = _table("place", "of", "number", "scale", "token", "bin", "decoded", "original", "error")
    for group in _group(found, lambda one: replace(one, column=None, place="")):
        one = group[0]
        table.add_row(
            _range("" if each.column is None else str(each.column) for each in group),
            escape(one.key),
            _range(each.place for each in group),
            one.scale,
            "" if one.token is None else str(one.token),
            "" if one.bin is None else str(one.bin),
            "[dim]padding[/]" if one.scale == "text" and not one.token else _show(one.decoded),
            _show(one.original),
            _show(one.error),
        )
    return table


def _draw_dimensions(dimensions: Sequence[Dimension]) -> Table:
    table = _table("of", "number", "scale", "lowest", "highest", "mean error", "largest", "saturated", "bins used")
    for group in _group(dimensions, lambda one: replace(one, place="")):
        one = group[0]
        saturated = "" if one.scale == "discrete" else f"{100 * one.saturated:.2f} %"
        table.add_row(
            escape(one.key),
            _range(each.place for each in group),
            one.scale,
            *map(_show, (one.lowest, one.highest, one.mean_error, one.largest_error)),
            f"[yellow]{saturated}[/]" if one.saturated > _NOTABLE else saturated,
            str(one.bins_used),
        )
    return table


def _summarise(measured: RoundTrip) -> Iterable[str]:
    dimensions = measured.dimensions()
    worst = max(dimensions, key=lambda one: one.largest_error, default=None)
    if worst and worst.largest_error:
        yield f"largest error {worst.largest_error:.4g}, of {escape(worst.key)} {worst.place}".rstrip()
    most = max(dimensions, key=lambda one: one.saturated, default=None)
    if most and most.saturated:
        yield f"most saturated: {100 * most.saturated:.2f} % of {escape(most.key)} {most.place}".rstrip()
    for key, share in measured.cut_texts().items():
        yield f"text {escape(key)}: cut at {100 * share:.2f} % of the steps"


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", padding=0)
    for head in heads:
        left = head in ("of", "number", "scale")
        table.add_column(head, justify="left" if left else "right", no_wrap=True, overflow="ellipsis")
    return table


def _group(rows: Iterable[Row], alike: Callable[[Row], object]) -> list[list[Row]]:
    """Join neighbours that differ in nothing but their place: the 40 empty cells of a view are one line."""
    return [list(group) for _, group in groupby(rows, alike)]


def _range(places: Iterable[str]) -> str:
    first, *others = places
    return f"{first}-{others[-1]}" if others else first


def _show(value: float | str | None) -> str:
    if value is None:
        return ""
    return escape(repr(value)) if isinstance(value, str) else f"{value:.4g}"
