from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.registry import select_tasks

console = Console(highlight=False)
_SURE = 1000  # places up to which a root bound takes minutes at most
_MOST_TOLD = 20


def solve_file(
    file: Annotated[Path, typer.Argument(help="CSV with name,latitude,longitude or x,y; or TSPLIB.")],
    out: Annotated[Path, typer.Option(help="Folder of the table, the pictures and the GeoJSON.")] = Path("tour"),
    tier: Annotated[
        Literal["fast", "certified", "proven"], typer.Option(help="How far the tour is certified.")
    ] = "proven",
    max_nodes: Annotated[int, typer.Option(min=1, help="Nodes of the search tree of a proof, at most.")] = 1000,
) -> None:
    """Find the shortest tour through your own places, with a proof or a bound."""
    from tasks.tsp.answer import describe, write_answer
    from tasks.tsp.requests import read_request
    from tasks.tsp.solver import solve_tour
    from tasks.tsp.tour import nearest_neighbour_tour, tour_length

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
    paths = write_answer(out, request, solution)
    console.print(f"[bold]{escape(describe(request, solution))}[/]", soft_wrap=True)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("", "length", "over the tour"):
        table.add_column(name, justify="right" if name else "left")
    nearest = tour_length(request.distances, nearest_neighbour_tour(request.distances))
    rows = {"nearest neighbour": nearest, "this tour": solution.length, "lower bound": solution.lower_bound}
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


def verify_tours(
    selection: Annotated[str, typer.Argument(help="Selections, families or task ids, with commas between.")] = "tsp",
) -> None:
    """Check stored tours by code that shares nothing with the solver; exit code 1 when one does not hold."""
    from tasks.tsp.verification import verify_episode

    store = TrajectoryStore(Locations.from_environment().trajectories)
    problems: list[str] = []
    num_tours = num_proven = num_tasks = 0
    chosen = select_tasks(selection)
    if strangers := [task_id for task_id in chosen if not task_id.startswith("tsp/")]:
        raise ValueError(f"task {strangers[0]!r} has no tours; expected tasks of the family tsp")
    stored = [task_id for task_id in store.tasks() if task_id in chosen]
    for task_id in track(stored, description="tasks", console=console, transient=True):
        num_tasks += 1
        for episode in store.read(task_id):
            problems += verify_episode(episode, task_id)
            num_tours += 1
            num_proven += bool(episode.provenance.get("proven"))
    if not num_tours:
        raise ValueError(f"no tours of {selection} are stored; make them with:\n  db1 make trajectories {selection}")
    for problem in problems[:_MOST_TOLD]:
        console.print(f"[bold red]✗[/] {escape(problem)}", soft_wrap=True)
    told = f"{num_tours:,} tours of {num_tasks} tasks, {num_proven:,} of them proven to be the shortest"
    if problems:
        console.print(f"[bold red]{len(problems)} faults[/] in {told}")
        raise typer.Exit(1)
    console.print(f"[bold green]all sound[/]: {told}")
