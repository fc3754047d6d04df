from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from storage.locations import Locations
from storage.manifest import write_atomically
from tasks.catalogue import Entry, format_number, list_entries, to_markdown
from tasks.registry import get_task, select_tasks, tasks_of
from tasks.task import Task
from tasks.trial import Trial, try_tasks

console = Console(highlight=False)
_WIDE = 110  # characters, from which on there is room for all columns


def list_tasks(
    selection: Annotated[str, typer.Argument(help="Selections, families or task ids, with commas between.")] = "full",
    family: Annotated[str | None, typer.Option("--family", help="The tasks of this family alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a task.")] = False,
    try_them: Annotated[
        bool, typer.Option("--try", help="Take a few random steps in each instead, and tell which run here.")
    ] = False,
    document: Annotated[
        Path | None, typer.Option(help="Write a Markdown document instead, such as docs/tasks.md.")
    ] = None,
) -> None:
    """List tasks: who is the expert, how well it did, and whether it is proven to be one."""
    tasks = tasks_of(family) if family else [get_task(task_id) for task_id in select_tasks(selection)]
    if try_them:
        _try(tasks)
        return
    entries = list_entries(tasks, Locations.from_environment().trajectories)
    if document:
        write_atomically(document, to_markdown(entries).encode())
        console.print(f"{len(entries)} tasks in {document}")
    elif as_json:
        print(json.dumps([{**asdict(entry), "proven": entry.is_proven} for entry in entries], indent=1))
    else:
        console.print(_table(entries))
        proven = sum(entry.is_proven for entry in entries)
        console.print(f"{len(entries)} tasks, {proven} with a proven expert")


def _try(tasks: list[Task]) -> None:
    table = Table(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for head in ("family", "tasks", "run here", "median s"):
        table.add_column(head, justify="left" if head == "family" else "right", no_wrap=True)
    trials = try_tasks([task.id for task in tasks], num_processes=os.cpu_count() or 1)
    by_family: dict[str, list[Trial]] = {}
    for task, trial in zip(
        tasks, track(trials, "trying", total=len(tasks), console=console, transient=True), strict=True
    ):
        by_family.setdefault(task.family, []).append(trial)
    for family, tried in by_family.items():
        seconds = [trial.seconds for trial in tried if trial.seconds is not None]
        median = f"{statistics.median(seconds):.3f}" if seconds else ""
        table.add_row(family, str(len(tried)), str(len(seconds)), median)
    faults = [trial for tried in by_family.values() for trial in tried if trial.fault]
    console.print(table)
    for trial in faults:
        console.print(f"[red]{trial.task}[/]: {escape(trial.fault)}", soft_wrap=True)
    console.print(f"{len(tasks) - len(faults)} of {len(tasks)} tasks run here")
    if faults:
        raise typer.Exit(1)


def _table(entries: list[Entry]) -> Table:
    is_wide = console.width >= _WIDE
    table = Table(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for head in ("task", "route", "licence") if is_wide else ("task",):
        table.add_column(head, no_wrap=True)
    for head in ("random", "expert", "episodes", "steps/s"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("proven", min_width=6)
    for entry in entries:
        words = (entry.expert_route, entry.licence) if is_wide else ()
        numbers = map(format_number, (entry.random, entry.expert, entry.episodes, entry.steps_per_s))
        table.add_row(entry.task, *words, *numbers, entry.doubt or "[green]yes[/]")
    return table
