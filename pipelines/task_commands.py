from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from storage.locations import Locations
from tasks.catalogue import Entry, format_number, list_entries, to_markdown
from tasks.registry import get_task, select_tasks, tasks_of

console = Console(highlight=False)
_WIDE = 110  # characters, from which on there is room for all columns


def list_tasks(
    selection: Annotated[str, typer.Argument(help="Selections, families or task ids, with commas between.")] = "full",
    family: Annotated[str | None, typer.Option("--family", help="The tasks of this family alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a task.")] = False,
    document: Annotated[
        Path | None, typer.Option(help="Write a Markdown document instead, such as docs/tasks.md.")
    ] = None,
) -> None:
    """List tasks: who is the expert, how well it did, and whether it is proven to be one."""
    tasks = tasks_of(family) if family else [get_task(task_id) for task_id in select_tasks(selection)]
    entries = list_entries(tasks, Locations.from_environment().trajectories)
    if document:
        document.write_text(to_markdown(entries))
        console.print(f"{len(entries)} tasks in {document}")
    elif as_json:
        print(json.dumps([{**asdict(entry), "proven": entry.is_proven} for entry in entries], indent=1))
    else:
        console.print(_table(entries))
        proven = sum(entry.is_proven for entry in entries)
        console.print(f"{len(entries)} tasks, {proven} with a proven expert")


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
