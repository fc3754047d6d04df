from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.contest import champions_of, crown, read_results, share_at_half
from assets.resources import Stores
from pipelines.checkpoints import CHAMPION
from pipelines.experiments import get_experiment
from pipelines.terminal import print_table
from storage.champions import History
from storage.manifest import ManifestError

console = Console(highlight=False)
_SHORT = 12  # digits of a digest
_COLOURS = {"first": "green", "promoted": "green", "crowned": "green", "kept": "yellow", "rolled back": "red"}
_ExperimentName = Annotated[
    str, typer.Option("--experiment", "-e", help="Whose champion; see pipelines/experiments.py.")
]


def show_champion(
    experiment: _ExperimentName = "demo",
    crown_because: Annotated[
        str, typer.Option("--crown", metavar="REASON", help="Let the newest checkpoint serve without a contest.")
    ] = "",
) -> None:
    """Show the checkpoint that serves, and all decisions about it."""
    chosen, stores = get_experiment(experiment), Stores.from_environment()
    if crown_because:
        crown(stores, chosen, crown_because)
    store = champions_of(stores)
    if not (history := store.read(experiment)).line:
        raise ManifestError("champion", experiment, "there is none yet")
    try:
        files = store.open(experiment)
        facts, results = files.manifest.metadata, read_results(files)
        trained = f"step {facts['step']:,}, {facts['num_parameters']:,} parameters"
        scores = [one.score for one in results if one.score is not None]
        told = f"mean {100 * sum(scores) / len(scores):.1f} %, " if scores else ""
        lines = [trained, f"{len(results)} tasks, {told}{100 * share_at_half(results):.0f} % reach half of the expert"]
    except ManifestError as error:
        lines = [f"[bold red]damaged[/]: {escape(error.fault)}", f"db1 rollback --experiment {experiment}"]
    console.print(f"[bold]{history.serving[:_SHORT]} serves for {escape(experiment)}[/]: {lines[0]}", soft_wrap=True)
    console.print(lines[1])
    before = ", ".join(digest[:_SHORT] for digest in reversed(history.line[:-1]))
    console.print(f"kept for a rollback: {before or 'none'}")
    print_table(console, _draw(history))
    console.print(f"play with it:\n  db1 play {experiment}{CHAMPION} TASK", soft_wrap=True)


def roll_back(
    experiment: _ExperimentName = "demo",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for the history.")] = "no reason was given",
) -> None:
    """Make the champion before the present one serve again; the present one is not let in a second time."""
    get_experiment(experiment)
    store = champions_of(Stores.from_environment())
    store.roll_back(experiment, reason)
    decision = store.read(experiment).decisions[-1]
    console.print(
        f"[green]✓[/] {decision.serves[:_SHORT]} serves for {escape(experiment)} again, in the place of "
        f"{decision.challenger[:_SHORT]}: {escape(reason)}",
        soft_wrap=True,
    )


def _draw(history: History) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in ("when", "outcome", "challenger", "serves"):
        table.add_column(name, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for when, one in reversed(list(zip(history.times, history.decisions, strict=True))):
        outcome = f"[{_COLOURS[one.outcome]}]{one.outcome}[/]"
        day = when[:16].replace("T", " ")
        table.add_row(day, outcome, one.challenger[:_SHORT], one.serves[:_SHORT], escape(one.reason))
    return table
