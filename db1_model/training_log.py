from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from storage.folder import StoredFolder
from storage.manifest import recipe_key

_KEY_LETTERS = 16
_FIRST = "step", "loss", "learning_rate", "positions_per_s"

Row = Mapping[str, float]


def run_folder(checkpoint: StoredFolder, recipe: Mapping[str, Any]) -> Path:
    """Return the folder of a run's log and training states, which is there until the checkpoint is complete."""
    return checkpoint.path / "runs" / recipe_key(recipe)[:_KEY_LETTERS]


def finished_run(checkpoint: StoredFolder) -> Path:
    """Return where the folder of the checkpoint's own run was.

    Raises:
        ManifestError: If there is no checkpoint.
    """
    return run_folder(checkpoint, checkpoint.read_manifest().recipe)


def log_path(run: Path) -> Path:
    """Return where a run's log lies."""
    return run / "log.jsonl"


def unfinished_runs(checkpoint: StoredFolder) -> list[Path]:
    """Return the folders of the runs that have a log and are no complete checkpoint yet."""
    return [path.parent for path in sorted(checkpoint.path.glob("runs/*/log.jsonl"))]


def read_training_log(path: Path) -> list[dict[str, float]]:
    """Return the rows of a training log; a half-written last line, as a kill leaves it, is left out."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def current_log(checkpoint: StoredFolder, run: Path) -> list[dict[str, float]]:
    """Return the rows of a run so far: of its log while it trains, of the checkpoint's manifest afterwards."""
    if rows := read_training_log(log_path(run)):
        return rows
    if checkpoint.exists and finished_run(checkpoint) == run:
        return checkpoint.read_manifest().metadata.get("log", [])
    return []


def rows_after(rows: Iterable[Row], step: float) -> list[Row]:
    """Return the rows after a step; a run that goes on from an earlier state writes some of the others again."""
    return [row for row in rows if row["step"] > step]


def follow_training_log(checkpoint: StoredFolder, run: Path, *, poll_s: float = 2.0) -> Iterator[Row]:
    """Yield the rows of a run as it writes them, each step once, until the run's folder is gone."""
    step, trains = 0.0, True
    while trains:
        trains = run.exists()
        for row in rows_after(current_log(checkpoint, run), step):
            step = row["step"]
            yield row
        if trains:
            time.sleep(poll_s)


def write_csv(rows: Iterable[Row], out: TextIO) -> None:
    """Write rows as a table whose columns are those of the first row, each as soon as it is there."""
    writer = None
    for row in rows:
        if writer is None:
            first = [name for name in _FIRST if name in row]
            names = [*first, *sorted(row.keys() - {*first})]
            writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
        out.flush()


def write_events(rows: Iterable[Row], folder: Path) -> None:
    """Write rows as TensorBoard's events, each number over the step, each as soon as it is there.

    Raises:
        FileExistsError: If the folder holds events, to which others would be added.
        ValueError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ValueError(
            f"there is no package {error.name!r}, with which events are written; install it with:\n"
            "  .venv/bin/pip install -e '.[tensorboard]' -c constraints.txt"
        ) from None
    if there := sorted(folder.glob("events.out.tfevents.*")):
        raise FileExistsError(f"{there[0]} is there; expected a folder without events; remove it, or take another one")
    with SummaryWriter(str(folder)) as writer:
        for row in rows:
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, int(row["step"]))
            writer.flush()
