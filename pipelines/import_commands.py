from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from storage.episode import Episode
from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.exchange import exporting, importing
from tasks.proof import find_doubt
from tasks.registry import get_task

console = Console(highlight=False)


def import_episodes(
    source: Annotated[str, typer.Argument(help="A file or folder, or the id of a local Minari data set.")],
    task_id: Annotated[str, typer.Option("--as", metavar="TASK", help="Id of the task.", show_default=False)],
    format: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(importing.FORMATS)}.", show_default=False)
    ],
    limit: Annotated[int, typer.Option(min=0, help="Episodes from the beginning; 0 for all.")] = 0,
    clip_actions: Annotated[
        bool, typer.Option("--clip-actions", help="Clip actions to [-1, 1] instead of refusing what is beyond.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other trajectories of the task.")] = False,
) -> None:
    """Store somebody else's episodes as a task's trajectories; what is made from them stays until it is made again."""
    task, store = get_task(task_id), TrajectoryStore(Locations.from_environment().trajectories)

    def show(episodes: Iterator[Episode]) -> Iterable[Episode]:
        return track(episodes, f"importing {task.id}", console=console, transient=True, show_speed=True)

    done = importing.import_episodes(
        task,
        source,
        store,
        format=format,
        limit=limit,
        clip_actions=clip_actions,
        replace=replace,
        num_processes=os.cpu_count() or 1,
        track=show,
    )
    facts = done.manifest.metadata
    scores, how = facts["reference_scores"], "stored before" if done.found else "imported"
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
