from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from storage.episode import Episode
from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.exchange import exporting, importing, language
from tasks.proof import find_doubt
from tasks.registry import get_task

console = Console(highlight=False)
FORMATS = (*importing.FORMATS, *language.FORMATS)


def import_episodes(
    source: Annotated[str, typer.Argument(help="A file or folder; of your own texts and pictures also a URL.")],
    task_id: Annotated[str, typer.Option("--as", metavar="TASK", help="Id of the task.", show_default=False)],
    format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.", show_default=False)],
    limit: Annotated[int, typer.Option(min=0, help="Episodes from the beginning; 0 for all.")] = 0,
    field: Annotated[str, typer.Option(help="Field or column of your own texts, if not the usual one.")] = "",
    most_bad: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of your own texts that may be bad.")] = 0.01,
    clip_actions: Annotated[
        bool, typer.Option("--clip-actions", help="Clip actions to [-1, 1] instead of refusing what is beyond.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other trajectories of the task.")] = False,
) -> None:
    """Store others' episodes, or your own texts, captioned pictures and talks, as a task's trajectories."""
    task, locations = get_task(task_id), Locations.from_environment()

    def show(episodes: Iterator[Episode]) -> Iterable[Episode]:
        return track(episodes, f"importing {task.id}", console=console, transient=True, show_speed=True)

    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r} of episodes; expected one of {', '.join(FORMATS)}")
    common: dict[str, Any] = {"format": format, "limit": limit, "replace": replace, "track": show}
    common["num_processes"] = os.cpu_count() or 1
    if format in language.FORMATS:
        done = language.import_language(task, source, locations, field=field, most_bad=most_bad, **common)
    else:
        store = TrajectoryStore(locations.trajectories)
        done = importing.import_episodes(task, source, store, clip_actions=clip_actions, **common)
    facts = done.manifest.metadata
    scores, how = facts["reference_scores"], "stored before" if done.found else "imported"
    if format in language.FORMATS:
        _tell_samples(facts[importing.ROUTE])
    console.print(
        f"[green]✓[/] {task.id}: {facts['num_episodes']:,} episodes of {facts['num_transitions']:,} steps {how}; mean "
        f"return {scores['expert']['mean']:,.4g}, random's {scores['random']['mean']:,.4g}",
        soft_wrap=True,
    )
    if left_out := facts[importing.ROUTE].get("steps_left_out"):
        console.print(f"[yellow]left out: {left_out:,} steps after the last episode's end[/]")
    if doubt := find_doubt(scores, facts["floor"]):
        console.print(f"[yellow]not proven to be an expert's: {escape(doubt)}[/]", soft_wrap=True)
    console.print(f"go on with:\n  db1 make tokens {task.id}", soft_wrap=True)


def _tell_samples(facts: Mapping[str, Any]) -> None:
    console.print(
        f"{facts['samples']:,} samples: {facts['training']:,} to train on, {facts['held_out']:,} held out, "
        f"{facts['duplicates']:,} twice, {facts['bad']:,} bad",
        soft_wrap=True,
    )
    for one in facts["first_bad"]:
        console.print(f"[yellow]left out: {escape(one['where'])}: {escape(one['fault'])}[/]", soft_wrap=True)


def export_episodes(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of a task.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="Folder of data sets to write into.", show_default=False)],
    format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(exporting.FORMATS)}.")] = "minari",
) -> None:
    """Write a task's stored trajectories as a data set that others can read."""
    if format not in exporting.FORMATS:
        raise ValueError(f"unknown format {format!r} of an export; expected one of {', '.join(exporting.FORMATS)}")
    task = get_task(task_id)
    episodes = TrajectoryStore(Locations.from_environment().trajectories).read(task.id)
    folder = exporting.export_minari(episodes, to)
    console.print(f"[green]✓[/] {task.id}: {len(episodes):,} episodes in {escape(str(folder))}", soft_wrap=True)
    name = exporting.data_set_id(task.id)
    console.print(f"look at them with:\n  MINARI_DATASETS_PATH={escape(str(to))} minari show {name}", soft_wrap=True)
