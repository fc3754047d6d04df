from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from db1_model.training_log import (
    current_log,
    finished_run,
    follow_training_log,
    unfinished_runs,
    write_csv,
    write_events,
)
from storage.folder import StoredFolder
from storage.locations import Locations

console = Console(highlight=False, stderr=True)


def write_log(
    name: Annotated[str, typer.Argument(help="Name of the checkpoint, trained or in training.", show_default=False)],
    to: Annotated[Path | None, typer.Option(help="CSV file to write; the terminal when empty.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder that gets TensorBoard's events instead.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the training ends.")] = False,
    run: Annotated[str, typer.Option(help="Which training, where several are not finished.")] = "",
) -> None:
    """Write the log of a training, of one that goes on too: loss, learning rate, positions a second."""
    folder = StoredFolder(Locations.from_environment().checkpoints, "checkpoint", name)
    training = _choose_run(folder, run)
    rows = follow_training_log(folder, training) if follow else current_log(folder, training)
    if tensorboard:
        events = tensorboard / name / training.name
        write_events(rows, events)
        console.print(f"[green]✓[/] {escape(str(events))}; show it with:", soft_wrap=True)
        console.print(f"  .venv/bin/tensorboard --logdir {escape(str(tensorboard))}", soft_wrap=True)
    elif to:
        with to.open("w") as out:
            write_csv(rows, out)
        console.print(f"[green]✓[/] {escape(str(to))}", soft_wrap=True)
    else:
        write_csv(rows, sys.stdout)


def _choose_run(folder: StoredFolder, wanted: str) -> Path:
    """Return the folder of a training: the wanted one, else the one that is not finished, else the checkpoint's own.

    Raises:
        ValueError: If several are not finished, or the wanted one is not there.
        ManifestError: If nothing was trained under this name.
    """
    runs = unfinished_runs(folder)
    if not wanted and not runs:
        return finished_run(folder)
    there = {run.name: run for run in [*runs, *([finished_run(folder)] if folder.exists else [])]}
    if not wanted and len(runs) > 1:
        raise ValueError(_explain(folder.name, f"{len(runs)} trainings are not finished", there))
    if wanted and wanted not in there:
        raise ValueError(_explain(folder.name, f"there is no training {wanted!r}", there))
    run = there[wanted] if wanted else runs[0]
    console.print(f"training {run.name}, {'not finished' if run in runs else 'finished'}")
    return run


def _explain(name: str, fault: str, there: Mapping[str, Path]) -> str:
    return f"{fault} of checkpoint {name!r}; choose one with:\n" + "\n".join(
        f"  db1 checkpoint log {name} --run {run}" for run in there
    )
