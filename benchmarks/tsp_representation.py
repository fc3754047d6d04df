"""Which description of a step lets a small model imitate the travelling salesperson's expert best?

A network of two hidden layers sees one step's numbers in 1,024 linear bins, learns the rank that the expert goes to,
and then walks held-out instances of 100 Chinese cities greedily. Run on one core, about a minute a row:

    OMP_NUM_THREADS=1 python -m benchmarks.tsp_representation
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.tsp_views import View
from tasks.task import EVALUATION_SEED
from tasks.tsp.instances import problem_of
from tasks.tsp.problem import VARIANTS, Instance, Problem
from tasks.tsp.solver import solve_tour
from tasks.tsp.tour import Tour, nearest_neighbour_tour, tour_length, turn_tour
from tasks.tsp.view import rank_unvisited, typical_spacing

VIEWS = (
    View("map's frame, 16 nodes, clipped", num_shown=16, own_frame=False, local=False),
    View("own frame, 16 nodes, clipped", num_shown=16, local=False),
    View("own frame, 16 nodes", num_shown=16),
    View("own frame, 8 nodes", num_shown=8),
    View("12 nodes + distance, isolation", num_shown=12, distance=True, isolation=True),
    View("8 nodes + spanning tree", num_shown=8, tree=True),
    View("the environment's", environment=True),
)


@dataclass(frozen=True)
class Solved:
    """An instance and its expert's tour."""

    instance: Instance
    tour: Tour


def solve_instances(problem: Problem, first_seed: int, stride: int, count: int) -> list[Solved]:
    """Draw and solve ``count`` instances."""
    drawn = [problem.draw_instance(first_seed + stride * k) for k in range(count)]
    return [Solved(instance, solve_tour(instance.distances).tour) for instance in drawn]


def imitation_data(
    solved: list[Solved], view: View, variants: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the numbers of every step of every variant of the tours, and the ranks that the expert goes to."""
    steps = len(solved[0].tour) - 1
    numbers = np.zeros((len(solved) * variants * steps, view.size), np.float32)
    ranks = np.zeros(len(numbers), np.int64)
    row = 0
    for one in solved:
        spacing, distances = typical_spacing(one.instance.points), one.instance.distances
        for variant in range(variants):
            points = one.instance.points if view.own_frame else _seen_differently(one.instance.points, rng)
            tour = turn_tour(one.tour, int(rng.integers(len(one.tour))), backwards=variant % 2 == 1)
            visited = np.zeros(len(tour), bool)
            for here, there in itertools.pairwise(tour):
                visited[here] = True
                ranked = rank_unvisited(distances, visited, here)
                view.describe(points, ranked, here, tour[0], spacing, numbers[row])
                ranks[row] = np.flatnonzero(ranked == there)[0]
                row += 1
    return _binned(numbers), ranks


def train(
    numbers: NDArray[np.float32], ranks: NDArray[np.int64], num_ranks: int, *, steps: int, seed: int
) -> torch.nn.Module:
    """Fit the network to ``steps`` batches of 512 decisions."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layers = [torch.nn.Linear(numbers.shape[1], 256), torch.nn.GELU(), torch.nn.Linear(256, 256), torch.nn.GELU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(256, num_ranks))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps, pct_start=0.05)
    inputs, targets = torch.from_numpy(numbers), torch.from_numpy(ranks)
    for _ in range(steps):
        batch = torch.from_numpy(rng.integers(0, len(ranks), 512))
        loss = torch.nn.functional.cross_entropy(network(inputs[batch]), targets[batch])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


@torch.no_grad()
def walk_greedily(network: torch.nn.Module, solved: list[Solved], view: View) -> NDArray[np.float64]:
    """Return the gap to the expert of the network's tour of every instance, shape (instances,)."""
    gaps = np.zeros(len(solved))
    tours = [[0] for _ in solved]
    visited = np.zeros((len(solved), len(solved[0].tour)), bool)
    spacings = [typical_spacing(one.instance.points) for one in solved]
    for _ in range(visited.shape[1] - 1):
        numbers, choices = np.zeros((len(solved), view.size), np.float32), []
        for k, one in enumerate(solved):
            visited[k, tours[k][-1]] = True
            choices.append(rank_unvisited(one.instance.distances, visited[k], tours[k][-1]))
            view.describe(one.instance.points, choices[k], tours[k][-1], 0, spacings[k], numbers[k])
        scores = network(torch.from_numpy(_binned(numbers))).numpy()
        for k, ranked in enumerate(choices):
            tours[k].append(int(ranked[scores[k, : len(ranked)].argmax()]))
    for k, one in enumerate(solved):
        distances = one.instance.distances
        gaps[k] = tour_length(distances, tours[k]) / tour_length(distances, one.tour) - 1
    return gaps


def _seen_differently(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    turned = points[:, ::-1] if rng.integers(2) else points
    return np.ascontiguousarray(turned * rng.choice([-1.0, 1.0], 2))


def _binned(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    return ((np.clip(np.floor((numbers + 1) * 512), 0, 1023) + 0.5) / 512 - 1).astype(np.float32)


def main() -> None:
    """Print one row for each view and each length of training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="tsp/tsp100-city-0")
    parser.add_argument("--instances", type=int, default=400, help="training instances")
    parser.add_argument("--variants", type=int, default=8, help="walks of each training instance")
    parser.add_argument("--held-out", type=int, default=120, help="evaluation instances")
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 4000], help="batches of 512 decisions")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each row")
    parser.add_argument("--views", default="", help="only views whose name contains this")
    chosen = parser.parse_args()
    problem = problem_of(chosen.task)
    training = solve_instances(problem, 0, VARIANTS, chosen.instances)
    held_out = solve_instances(problem, EVALUATION_SEED, 1, chosen.held_out)
    nearest = [
        tour_length(one.instance.distances, nearest_neighbour_tour(one.instance.distances))
        / tour_length(one.instance.distances, one.tour)
        - 1
        for one in held_out
    ]
    print(f"nearest neighbour: {100 * np.mean(nearest):.1f} % above the expert, {chosen.held_out} held-out instances")
    print(f"{'view':36s} {'numbers':>7s} {'batches':>7s} {'gap %':>12s} {'median':>6s} {'CPU s':>5s}", flush=True)
    for view in (view for view in VIEWS if chosen.views in view.name):
        numbers, ranks = imitation_data(training, view, chosen.variants, np.random.default_rng(0))
        for steps in chosen.steps:
            began = time.process_time()
            gaps = [
                walk_greedily(train(numbers, ranks, problem.num_nodes, steps=steps, seed=seed), held_out, view)
                for seed in range(chosen.seeds)
            ]
            spread = np.mean(gaps, axis=0).std() / np.sqrt(chosen.held_out)
            print(
                f"{view.name:36s} {view.size:7d} {steps:7d} {100 * np.mean(gaps):6.1f} ± {100 * spread:3.1f} "
                f"{100 * np.median(gaps):6.1f} {time.process_time() - began:5.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
