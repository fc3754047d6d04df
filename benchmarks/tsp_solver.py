"""Compares the exact solver of tours with others: ``python -m benchmarks.tsp_solver [--sizes 100,200] [--count 50]``.

Every solver sees the same evaluation instances on one core; times are CPU seconds. Other solvers join when they are
installed (``pip install fast_tsp pyvrp elkai``); LKH, which elkai holds, is for non-commercial use only, and is no
dependency of this project. ``--literature 1000`` gives the mean length over the first of the uniform instances of the
literature, whose published optimum is 7.76.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tasks.task import EVALUATION_SEED
from tasks.tsp.distances import euclidean
from tasks.tsp.problem import Problem
from tasks.tsp.routing import route
from tasks.tsp.solver import Solution, solve_tour
from tasks.tsp.tour import nearest_neighbour_tour, tour_length

_Matrix = NDArray[np.int64]


def measure_class(num_nodes: int, over_china: bool, count: int, max_nodes: int) -> None:
    """Print the tables of one class of instances."""
    problem = Problem("benchmark", 9000 + over_china, num_nodes, over_china)
    instances = [problem.draw_instance(EVALUATION_SEED + number).distances for number in range(count)]
    print(f"\n{'cities' if over_china else 'uniform'}, {num_nodes} nodes, {count} instances", flush=True)
    best, seconds = [], []
    for distances in instances:
        begun = time.process_time()
        best.append(solve_tour(distances, "proven", max_nodes=max_nodes))
        seconds.append(time.process_time() - begun)
    taken, is_proven = np.array(seconds), np.array([solution.is_proven for solution in best])
    within = ", ".join(f"{(is_proven & (taken <= limit)).mean():.1%} in {limit} s" for limit in (1, 5, 30))
    nodes = [solution.num_nodes for solution in best]
    print(
        f"  proven {is_proven.mean():.1%}: {within}; CPU s: median {np.median(taken):.2f}, mean {taken.mean():.2f}, "
        f"largest {taken.max():.1f}; nodes: median {np.median(nodes):.0f}, most {max(nodes)}; "
        f"mean certified gap {100 * np.mean([solution.gap for solution in best]):.4f} %",
        flush=True,
    )
    for tier in ("fast", "certified"):
        _compare(f"tier {tier}", instances, best, lambda distances, tier=tier: solve_tour(distances, tier).length)
        gaps = [solve_tour(distances, tier).gap for distances in instances]
        print(f"      certified gap of this tier: mean {100 * np.mean(gaps):.3f} %", flush=True)
    for name, solve in _others().items():
        if num_nodes <= 200 or not name.startswith("OR-Tools"):
            _compare(name, instances, best, solve)


def _compare(name: str, instances: list[_Matrix], best: list[Solution], solve: Callable[[_Matrix], int]) -> None:
    gaps, seconds = [], []
    for distances, solution in zip(instances, best, strict=True):
        begun = time.process_time()
        gaps.append(solve(distances) / solution.length - 1)
        seconds.append(time.process_time() - begun)
    print(
        f"  {name:32s} mean gap {100 * np.mean(gaps):7.3f} %   median CPU s {np.median(seconds):6.3f}   "
        f"tours a core-second {len(seconds) / sum(seconds):8.2f}",
        flush=True,
    )


def _others() -> dict[str, Callable[[_Matrix], int]]:
    solvers: dict[str, Callable[[_Matrix], int]] = {
        "nearest neighbour": lambda distances: tour_length(distances, nearest_neighbour_tour(distances)),
        "OR-Tools routing, descent": lambda distances: tour_length(distances, route(distances, "descent")),
        "OR-Tools routing, guided": lambda distances: tour_length(distances, route(distances, "guided")),
    }
    if importlib.util.find_spec("fast_tsp"):
        import fast_tsp  # pyright: ignore[reportMissingImports]

        solvers["fast_tsp, 0.2 s"] = lambda distances: tour_length(
            distances, fast_tsp.find_tour(_shrink(distances), duration_seconds=0.2)
        )
    if importlib.util.find_spec("elkai"):
        import elkai  # pyright: ignore[reportMissingImports]

        solvers["LKH (elkai)"] = lambda distances: tour_length(
            distances, elkai.DistanceMatrix(distances.tolist()).solve_tsp()[:-1]
        )
    if importlib.util.find_spec("pyvrp"):
        solvers["PyVRP, 1 s"] = _solve_by_pyvrp
    return solvers


def _shrink(distances: _Matrix) -> _Matrix:
    return distances // max(1, int(distances.max()) // 60_000)  # fast_tsp takes 16 bits


def _solve_by_pyvrp(distances: _Matrix) -> int:
    import pyvrp  # pyright: ignore[reportMissingImports]
    import pyvrp.stop  # pyright: ignore[reportMissingImports]

    model = pyvrp.Model()
    model.add_vehicle_type(1)
    places = [model.add_location(x=0, y=0) for _ in distances]
    model.add_depot(places[0])
    for place in places[1:]:
        model.add_client(place)
    for a, row in zip(places, distances.tolist(), strict=True):
        for b, length in zip(places, row, strict=True):
            if a is not b:
                model.add_edge(a, b, distance=length)
    return int(model.solve(stop=pyvrp.stop.MaxRuntime(1.0), display=False).cost())


def measure_literature(count: int) -> None:
    """Print the mean length over the first uniform instances of 100 nodes that the literature reports on."""
    points = np.random.RandomState(1234).uniform(size=(10_000, 100, 2))[:count]
    begun, lengths, num_proven = time.process_time(), [], 0
    for places in points:
        solution = solve_tour(euclidean(places))
        num_proven += solution.is_proven
        lengths.append(np.linalg.norm(places[solution.tour] - places[np.roll(solution.tour, -1)], axis=1).sum())
    seconds = time.process_time() - begun
    print(f"\nliterature's uniform 100, first {count}: mean length {np.mean(lengths):.4f} (published optimum 7.76)")
    print(f"  {num_proven} of {count} proven, {seconds / count:.3f} CPU s each", flush=True)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="Compare the exact solver of tours with others.")
    parser.add_argument("--sizes", default="100,200", help="nodes, with commas between")
    parser.add_argument("--count", type=int, default=50, help="instances of a class")
    parser.add_argument("--max-nodes", type=int, default=1000, help="nodes of a search tree")
    parser.add_argument("--literature", type=int, default=0, help="instances of the literature; 0 leaves them out")
    arguments = parser.parse_args()
    solve_tour(Problem("benchmark", 9002, 60, False).draw_instance(0).distances)  # compiles
    for size in map(int, arguments.sizes.split(",")):
        for over_china in (False, True)[: 1 if size > 600 else 2]:
            measure_class(size, over_china, arguments.count, arguments.max_nodes)
    if arguments.literature:
        measure_literature(arguments.literature)


if __name__ == "__main__":
    main()
