from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import dagster as dg
import typer
from rich.console import Console
from rich.markup import escape

from assets.evaluation import read_evaluation
from assets.report import report_folder
from assets.resources import Experiment, Stores
from assets.selection import trained_tasks
from pipelines import (
    champion_commands,
    import_commands,
    language_commands,
    lineage_commands,
    log_commands,
    model_commands,
    plan_commands,
    serve_command,
    store_commands,
    task_commands,
    token_commands,
    tour_commands,
)
from pipelines.experiments import get_experiment
from pipelines.launcher_choice import ChosenLauncher
from pipelines.records import open_records
from pipelines.runs import STAGES, StageRun, close_runs, find_cut_off, make_stages, plan_runs
from pipelines.terminal import Terminal, draw_scores_table, summarise_scores
from tasks.registry import select_tasks

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)
_INTERRUPTED = 130
_ExperimentName = Annotated[str, typer.Option("--experiment", "-e", help="What to make; see pipelines/experiments.py.")]


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """DB1: experts' episodes to tokens to one model that acts, as a Dagster pipeline."""


@app.command()
def demo(
    language: Annotated[bool, typer.Option("--language", help="Learn to write, describe and answer as well.")] = False,
) -> None:
    """Run the whole loop on the demo's tasks; stopped and run again, it goes on."""
    experiment = get_experiment("demo_language" if language else "demo")
    _make(plan_runs(STAGES, experiment.task_ids), experiment)
    _show_scores(experiment)


@app.command()
def make(
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(STAGES)}, or all.")],
    what: Annotated[list[str] | None, typer.Argument(help="Selections, families or task ids; all when empty.")] = None,
    experiment: _ExperimentName = "demo",
    specialist_share: Annotated[
        float, typer.Option(help="Share of its recipe's steps that a specialist is trained for at least.")
    ] = 1.0,
    replace_imported: Annotated[
        bool, typer.Option("--replace-imported", help="Let the experts play also where episodes were imported.")
    ] = False,
) -> None:
    """Make one stage, of some tasks or of all tasks of an experiment; what is made already stays as it is."""
    if stage not in (*STAGES, "all"):
        raise ValueError(f"unknown stage {stage!r}; expected one of {', '.join(STAGES)}, or all")
    chosen = get_experiment(experiment)
    chosen = Experiment(
        **{**chosen.model_dump(), "replace_imported": replace_imported, "specialist_share": specialist_share}
    )
    task_ids = select_tasks(",".join(what)) if what else chosen.task_ids
    if not (runs := plan_runs(STAGES if stage == "all" else [stage], task_ids)):
        raise ValueError(
            f"the expert of no task of {', '.join(what or [chosen.tasks])} is a specialist; see: db1 tasks"
        )
    _make(runs, chosen)


@app.command()
def scores(experiment: _ExperimentName = "demo") -> None:
    """Show the scores of an experiment's checkpoint."""
    _show_scores(get_experiment(experiment))


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port of the web server.")] = 3000) -> None:
    """Start Dagster's web interface and its daemon; runs that a power cut ended are started again."""
    ChosenLauncher.from_environment()  # the server would tell of a broken choice in the midst of its own lines
    home = _root() / ".dagster"
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").symlink_to("../dagster.yaml")
    os.environ.setdefault("DAGSTER_HOME", str(home))
    with open_records() as instance:
        close_runs(instance, find_cut_off(instance), "its process ended; started again, it goes on")
    os.execv(Path(sys.executable).with_name("dg"), ["dg", "dev", "--port", str(port)])


app.command()(serve_command.serve)
app.command("tasks")(task_commands.list_tasks)
app.command()(model_commands.play)
app.command("champion")(champion_commands.show_champion)
app.command("rollback")(champion_commands.roll_back)
app.command()(language_commands.caption)
app.command()(language_commands.ask)
app.command()(language_commands.chat)
app.command()(language_commands.write)
app.command()(model_commands.parity)
app.command()(token_commands.tokens)
app.command("import")(import_commands.import_episodes)
app.command("export")(import_commands.export_episodes)
app.command("tour")(tour_commands.solve_file)
app.command("verify-tours")(tour_commands.verify_tours)
app.command()(store_commands.doctor)
app.command()(lineage_commands.trace)
app.command()(lineage_commands.stale)
app.command()(plan_commands.plan)
app.command("clean")(store_commands.remove_strays)
model_commands.checkpoints.command("log")(log_commands.write_log)
app.add_typer(model_commands.checkpoints, name="checkpoint")


def main() -> None:
    """Run a command; an error is one message, with its traceback only after ``db1 --debug``."""
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        console.print(f"[bold red]error:[/] {escape(str(error) or repr(error))}", soft_wrap=True)
        sys.exit(1)


def _root() -> Path:
    root = Path.cwd()
    if not (root / "dagster.yaml").is_file():
        raise FileNotFoundError(
            f"there is no dagster.yaml in {root}; start db1 in the project's folder:\n"
            f"  cd {Path(__file__).resolve().parents[1]}"
        )
    return root


def _make(runs: list[StageRun], experiment: Experiment) -> None:
    from pipelines.definitions import define  # imported, it makes all definitions, and refuses a broken DB1_LAUNCHER

    without_captured_output = {
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    }
    with open_records(without_captured_output) as instance, Terminal(console) as terminal:
        defs = define(dg.ResourceDefinition.hardcoded_resource(terminal))
        try:
            job = defs.resolve_implicit_global_asset_job_def()
            make_stages(runs, job, instance, experiment, tell=terminal.tell, warn=terminal.warn)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            console.print("[yellow]stopped[/]; the same command goes on from here")
            raise typer.Exit(_INTERRUPTED) from None


def _show_scores(experiment: Experiment) -> None:
    from tasks.report import PAGE  # imports Matplotlib

    stores = Stores.from_environment()
    evaluations = [read_evaluation(stores, task_id).manifest for task_id in trained_tasks(stores, experiment)]
    console.print(draw_scores_table(evaluations))
    console.print(summarise_scores(evaluations))
    if (report := report_folder(stores, experiment)).exists:
        console.print(f"report: {report.open().path(PAGE)}", soft_wrap=True)
