from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from assets.resources import Stores
from pipelines.checkpoints import make_policy, newest_checkpoint, open_checkpoint, trained_tasks_of
from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.registry import get_task, select_tasks
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED
from tasks.tsp.instances import list_problems
from tasks.tsp.problem import MAX_NODES, Given, Tier
from tasks.tsp.tour import Tour, check_tour, nearest_neighbour_tour, tour_length

if TYPE_CHECKING:
    from tasks.tsp.requests import Request

console = Console(highlight=False)
_SURE = 1000  # places up to which a root bound takes minutes at most
_MOST_TOLD = 20


def solve_file(
    file: Annotated[Path, typer.Argument(help="CSV with name,latitude,longitude or x,y; or TSPLIB.")],
    out: Annotated[Path, typer.Option(help="Folder of the table, the pictures and the GeoJSON.")] = Path("tour"),
    tier: Annotated[Tier, typer.Option(help="How far the tour is certified.")] = "proven",
    max_nodes: Annotated[int, typer.Option(min=1, help="Nodes of the search tree of a proof, at most.")] = MAX_NODES,
    model: Annotated[
        str, typer.Option(help="Checkpoint that walks the places too; 'none' for none.", show_default="the newest")
    ] = "",
) -> None:
    """Find the shortest tour through your own places, with a proof or a bound, and a model's tour beside it."""
    from tasks.tsp.answer import describe, write_answer
    from tasks.tsp.requests import read_request
    from tasks.tsp.solver import solve_tour

    request = read_request(file)
    if len(request.names) > _SURE:
        console.print(
            f"[yellow]{len(request.names)} places[/]: above {_SURE} no proof is tried, since it could take hours; the "
            "tour is short, and a bound says by how much it may be too long",
            soft_wrap=True,
        )
        tier = "fast"
    with console.status(f"{len(request.names)} places"):
        solution = solve_tour(request.distances, tier, max_nodes=max_nodes)
    walk = _walk(request, model)
    paths = write_answer(out, request, solution, walk.tour if walk else None)
    console.print(f"[bold]{escape(describe(request, solution))}[/]", soft_wrap=True)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("", "length", "over the tour"):
        table.add_column(name, justify="right" if name else "left")
    nearest = tour_length(request.distances, nearest_neighbour_tour(request.distances))
    rows = {"nearest neighbour": nearest}
    if walk is not None:
        rows[f"the model {walk.model}"] = tour_length(request.distances, walk.tour)
    rows |= {"this tour": solution.length, "lower bound": solution.lower_bound}
    for name, length in rows.items():
        excess = length / solution.length - 1 if solution.length else 0.0
        table.add_row(name, f"{length / request.per_unit:,.7g} {request.unit}".strip(), f"{100 * excess:+.3f} %")
    console.print(table)
    nodes = f"{solution.num_nodes} {'node' if solution.num_nodes == 1 else 'nodes'} of the search tree"
    console.print(f"certified by: {solution.stage}" + (f", {nodes}" if solution.num_nodes else ""))
    if solution.fault:
        console.print(f"[yellow]the proof ended early[/]: {escape(solution.fault)}", soft_wrap=True)
    for path in paths:
        console.print(f"  {escape(str(path))}", soft_wrap=True)


@dataclass(frozen=True)
class _Walk:
    model: str
    tour: Tour


def _walk(request: Request, name: str) -> _Walk | None:
    """Let a checkpoint walk the places, as it walks the tours that it was trained on; None where it can't, and why."""
    from tasks.tsp.environment import TourEnvironment  # imports numba, which takes longer than all else here

    stores = Stores.from_environment()
    chosen = name or newest_checkpoint(stores)
    if chosen is None or chosen == "none":
        return None
    trained = trained_tasks_of(stores, open_checkpoint(stores, chosen).manifest)
    known = [problem for problem in list_problems() if f"tsp/{problem.name}" in trained]
    count = len(request.names)
    missing = (
        "the file has distances and no coordinates"
        if request.points is None
        else f"{count} places are too many for it"
        if count > _SURE
        else "it was not trained on tours, or its shards are not here"
        if not known
        else ""
    )
    if missing:
        console.print(f"no tour by the model {escape(chosen)}: {missing}", soft_wrap=True)
        return None
    alike = min(known, key=lambda problem: (abs(problem.num_nodes - count), problem.over_china != request.is_on_earth))
    task = replace(get_task(f"tsp/{alike.name}"), make_environment=partial(TourEnvironment, Given(request.instance)))
    policy, _ = make_policy(stores, chosen, task, num_slots=1, device="cpu")
    with console.status(f"{chosen} walks {count} places"):
        (episode,) = roll_out(task, policy, [EVALUATION_SEED], num_slots=1)
    return _Walk(chosen, check_tour(episode.provenance["summary"]["tour"], count))


def verify_tours(
    selection: Annotated[str, typer.Argument(help="Selections, families or task ids, with commas between.")] = "tsp",
) -> None:
    """Check stored tours by code that shares nothing with the solver; exit code 1 when one does not hold."""
    from tasks.tsp.verification import verify_episode

    store = TrajectoryStore(Locations.from_environment().trajectories)
    problems: list[str] = []
    num_tours = num_proven = num_tasks = 0
    gap = 0.0
    chosen = select_tasks(selection)
    if strangers := [task_id for task_id in chosen if not task_id.startswith("tsp/")]:
        raise ValueError(f"task {strangers[0]!r} has no tours; expected tasks of the family tsp, see:\n  db1 tasks tsp")
    stored = [task_id for task_id in store.tasks() if task_id in chosen]
    for task_id in track(stored, description="tasks", console=console, transient=True):
        num_tasks += 1
        for episode in store.read(task_id):
            problems += verify_episode(episode, task_id)
            num_tours += 1
            num_proven += bool(episode.provenance.get("proven"))
            gap += episode.provenance.get("certified_gap", 0.0)
    if not num_tours:
        raise ValueError(f"no tours of {selection} are stored; make them with:\n  db1 make trajectories {selection}")
    for problem in problems[:_MOST_TOLD]:
        console.print(f"[bold red]✗[/] {escape(problem)}", soft_wrap=True)
    told = (
        f"{num_tours:,} tours of {num_tasks} tasks, {num_proven:,} of them proven to be the shortest, mean certified "
        f"gap {100 * gap / num_tours:.4f} %"
    )
    if problems:
        console.print(f"[bold red]{len(problems)} faults[/] in {told}", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"[bold green]all sound[/]: {told}", soft_wrap=True)
