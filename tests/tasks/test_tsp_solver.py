from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.tsp.bound import raise_bound
from tasks.tsp.distances import euclidean
from tasks.tsp.problem import Problem
from tasks.tsp.routing import route
from tasks.tsp.search import improve_tour
from tasks.tsp.solver import solve_tour
from tasks.tsp.tour import check_tour, nearest_neighbour_tour, tour_length, turn_tour
from tasks.tsp.verification import bound_of, verify_tour


def ring(num_nodes: int) -> NDArray[np.int64]:
    around = np.abs(np.arange(num_nodes)[:, None] - np.arange(num_nodes))
    return np.minimum(around, num_nodes - around).astype(np.int64)


def shortest_by_trying_all(distances: NDArray[np.int64]) -> int:
    tours = itertools.permutations(range(1, len(distances)))
    return min(tour_length(distances, (0, *rest)) for rest in tours if rest[0] <= rest[-1])


@pytest.mark.parametrize("num_nodes", [3, 4, 5, 12, 40])
def test_the_best_tour_of_a_ring_is_once_around(num_nodes: int) -> None:
    solution = solve_tour(ring(num_nodes))

    assert sorted(solution.tour) == list(range(num_nodes))
    assert tour_length(ring(num_nodes), solution.tour) == solution.length == num_nodes
    assert solution.lower_bound <= num_nodes


def test_nearest_neighbour_on_a_line_jumps_to_and_fro() -> None:
    # Places 0, 1, -2 and 5 of a line: 0 -> 1 (1), -> -2 (3), -> 5 (7), home (5).
    places = np.array([0, 5, 1, -2])
    distances = np.abs(places[:, None] - places)

    tour = nearest_neighbour_tour(distances)

    assert tour.tolist() == [0, 2, 3, 1]
    assert tour_length(distances, tour) == 1 + 3 + 7 + 5


@pytest.mark.parametrize("seed", range(40))
def test_tiny_instances_are_solved_to_the_optimum_and_no_bound_exceeds_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_nodes = int(rng.integers(3, 9))
    points = rng.random((num_nodes, 2))
    if seed % 4 == 1:
        points = np.round(3 * points) / 3  # ties and duplicates
    if seed % 4 == 2:
        points[:, 1] = 0.5  # collinear
    distances = euclidean(points)
    if seed % 4 == 3:
        distances = np.triu(rng.integers(0, 1000, distances.shape), 1)  # not metric
        distances += distances.T

    solution = solve_tour(distances)

    shortest = shortest_by_trying_all(distances)
    assert solution.length == shortest
    assert solution.lower_bound <= shortest
    assert bound_of(distances, solution.potentials) == solution.lower_bound
    assert tour_length(distances, route(distances, descend=True)) >= shortest


@pytest.mark.parametrize(("num_nodes", "over_china"), [(100, False), (100, True), (200, True)])
def test_tours_lie_within_the_gap_that_the_bound_leaves(num_nodes: int, over_china: bool) -> None:
    distances = Problem("x", 0, num_nodes, over_china).draw_instance(0).distances

    solution = solve_tour(distances)

    certificate = {"length": solution.length, "lower_bound": solution.lower_bound}
    assert verify_tour(distances, solution.tour.tolist(), **certificate, potentials=solution.potentials.tolist()) == []
    assert 0 <= solution.gap < 0.025
    assert bound_of(distances, solution.potentials) == solution.lower_bound
    assert solution.length <= tour_length(distances, route(distances, descend=True))
    assert solution.length < tour_length(distances, nearest_neighbour_tour(distances))


def test_other_processes_with_other_hash_seeds_find_the_same_tours() -> None:
    program = (
        "from tasks.tsp.problem import Problem; from tasks.tsp.solver import solve_tour\n"
        "solution = solve_tour(Problem('x', 5, 100, True).draw_instance(32).distances)\n"
        "print(solution.tour.tolist(), solution.lower_bound, solution.potentials.tolist())"
    )

    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    solution = solve_tour(Problem("x", 5, 100, True).draw_instance(32).distances)
    here = f"{solution.tour.tolist()} {solution.lower_bound} {solution.potentials.tolist()}\n"
    assert answers == {here}


def test_more_ascent_never_lowers_the_bound() -> None:
    distances = Problem("x", 0, 100, False).draw_instance(0).distances

    bounds = [raise_bound(distances, iterations)[1] for iterations in (0, 1000)]

    assert bounds[0] < bounds[1] <= solve_tour(distances).length


def test_a_turned_tour_is_as_long_and_starts_where_it_is_told() -> None:
    distances = Problem("x", 0, 100, False).draw_instance(0).distances
    tour = nearest_neighbour_tour(distances)

    for start, backwards in ((17, False), (17, True)):
        turned = turn_tour(tour, start, backwards=backwards)
        assert turned[0] == start
        assert tour_length(distances, turned) == tour_length(distances, tour)
    assert turn_tour(tour, 17)[1] == turn_tour(tour, 17, backwards=True)[-1]


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (np.zeros((2, 2), np.int64), "at least 3 nodes"),
        (np.zeros((4, 3), np.int64), r"shape \(4, 3\)"),
        (np.array([[0, 1, 2], [1, 0, 3], [2, 4, 0]]), "symmetric"),
        (np.zeros((4, 4)), "type float64"),
        (-ring(5), "values >= 0"),
    ],
)
def test_distances_that_are_none_are_refused(distances: NDArray[np.int64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_tour(distances)


def test_a_tour_that_leaves_out_a_node_is_refused() -> None:
    with pytest.raises(ValueError, match=r"leaves out \[2\]"):
        check_tour([0, 1, 1, 3], 4)
    with pytest.raises(ValueError, match=r"shape \(3,\); expected one visit to each of 4"):
        improve_tour(ring(4), np.arange(3), np.zeros((4, 1), np.int64), kicks=1, restarts=1, seed=0)
