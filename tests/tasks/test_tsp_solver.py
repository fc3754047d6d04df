from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from tasks.task import EVALUATION_SEED
from tasks.tsp.bound import raise_bound
from tasks.tsp.distances import euclidean
from tasks.tsp.exact.branching import prove_tour
from tasks.tsp.exact.combs import find_combs
from tasks.tsp.exact.cuts import Cut, comb
from tasks.tsp.exact.elimination import surviving_edges
from tasks.tsp.exact.relaxation import FREE, LinearProgramError, Point, Relaxation
from tasks.tsp.exact.subtours import find_subtours
from tasks.tsp.problem import Problem
from tasks.tsp.routing import route
from tasks.tsp.search import improve_tour
from tasks.tsp.solver import solve_tour
from tasks.tsp.tour import check_tour, nearest_neighbour_tour, tour_length, turn_tour
from tasks.tsp.verification import bound_of, verify_tour


def ring(num_nodes: int) -> NDArray[np.int64]:
    around = np.abs(np.arange(num_nodes)[:, None] - np.arange(num_nodes))
    return np.minimum(around, num_nodes - around).astype(np.int64)


@njit(cache=True)
def shortest_by_dynamic_programming(distances: NDArray[np.int64]) -> int:
    """Return the length of the shortest tour (Held and Karp, 1962)."""
    last = len(distances) - 1
    best = np.full((1 << last, last), np.int64(2**60))
    for node in range(last):
        best[1 << node, node] = distances[last, node]
    for visited in range(1 << last):
        for node in range(last):
            if best[visited, node] == 2**60:
                continue
            for following in range(last):
                if not visited >> following & 1:
                    length = best[visited, node] + distances[node, following]
                    into = visited | 1 << following
                    best[into, following] = min(best[into, following], length)
    return min([best[-1, node] + distances[node, last] for node in range(last)])


def draw_tiny(seed: int) -> NDArray[np.int64]:
    """Draw 5 to 13 nodes: scattered, on a grid, on a line, in clusters of near or equal ones, or not metric."""
    rng = np.random.default_rng(seed)
    num_nodes, kind = int(rng.integers(5, 14)), seed % 6
    points = rng.random((num_nodes, 2))
    if kind == 1:
        points = np.round(4 * points) / 4
    if kind == 2:
        points[:, 1] = 0.5
    if kind == 3:
        centres = points[rng.integers(0, num_nodes // 3 + 1, num_nodes)]
        points = centres + rng.integers(0, 2) * rng.normal(0, 0.01, (num_nodes, 2))
    if kind < 4:
        return euclidean(points)
    upper = np.triu(rng.integers(0, 1000 if kind == 4 else 4, (num_nodes, num_nodes)), 1)
    return upper + upper.T


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


def judge_tiny(seed: int) -> None:
    distances = draw_tiny(seed)
    num_nodes = len(distances)
    shortest = shortest_by_dynamic_programming(distances)

    solution, certified = solve_tour(distances), solve_tour(distances, "certified")
    alone = prove_tour(  # from a random tour and no bound, so that the linear programs do all the work
        distances,
        np.random.default_rng(seed).permutation(num_nodes),
        np.zeros(num_nodes, np.int64),
        0,
        max_nodes=10_000,
        kicks=0,
        restarts=0,
        seed=0,
    )

    assert solution.length == tour_length(distances, solution.tour) == solution.lower_bound == shortest
    assert solution.tree_bound <= shortest
    assert shortest >= bound_of(distances, solution.potentials, claimed=solution.tree_bound) >= solution.tree_bound
    assert certified.lower_bound <= shortest <= certified.length
    assert alone.length == tour_length(distances, alone.tour) == alone.lower_bound == shortest


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_tiny_instances_are_proven_and_dynamic_programming_agrees(first: int) -> None:
    for seed in range(first, first + 20):
        judge_tiny(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 11_000, 1000))
def test_ten_thousand_tiny_instances_are_proven_and_dynamic_programming_agrees(first: int) -> None:
    for seed in range(first, first + 1000):
        judge_tiny(seed)


def test_branching_finds_the_optimum_that_cuts_find(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        distances = euclidean(np.random.default_rng(seed).random((40, 2)))
        solution = solve_tour(distances)
        known = np.arange(40), solution.potentials, solution.tree_bound
        with monkeypatch.context() as patch:
            patch.setattr("tasks.tsp.exact.branching.find_combs", lambda *_, **__: [])
            alone = prove_tour(distances, *known, max_nodes=10_000, kicks=0, restarts=0, seed=0)

        assert alone.stage == "branching"
        assert alone.num_nodes > 1
        assert alone.length == alone.lower_bound == solution.length == solution.lower_bound


def test_a_linear_solver_that_fails_leaves_a_sound_bound_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    distances = euclidean(np.random.default_rng(3).random((41, 2)))
    known = np.arange(41), np.zeros(41, np.int64), 0
    limits = {"max_nodes": 100, "kicks": 0, "restarts": 0, "seed": 0}
    sound, solve, calls = prove_tour(distances, *known, **limits), Relaxation.solve, iter(range(3))

    def solve_thrice(self: Relaxation, state: NDArray[np.int8]) -> Point:
        if next(calls, None) is None:
            raise LinearProgramError("GLOP ends with status 4")
        return solve(self, state)

    monkeypatch.setattr(Relaxation, "solve", solve_thrice)
    broken = prove_tour(distances, *known, **limits)

    assert broken.fault == "GLOP ends with status 4"
    assert sound.fault == ""
    assert broken.lower_bound <= sound.length <= broken.length


def test_a_proof_that_is_cut_short_bounds_the_optimum_all_the_same() -> None:
    distances = Problem("x", 0, 100, False).draw_instance(EVALUATION_SEED + 2).distances
    optimum = solve_tour(distances).length

    bounds = [
        solve_tour(distances, "fast").lower_bound,
        solve_tour(distances, "certified").lower_bound,
        solve_tour(distances, "proven", max_nodes=4).lower_bound,
    ]

    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[1] <= bounds[2] <= optimum


@pytest.mark.parametrize(("num_nodes", "over_china"), [(100, False), (100, True), (200, True)])
def test_every_tier_has_a_sound_certificate_and_no_longer_tour_than_the_one_before(
    num_nodes: int, over_china: bool
) -> None:
    distances = Problem("x", 0, num_nodes, over_china).draw_instance(0).distances

    fast, certified, proven = (solve_tour(distances, tier) for tier in ("fast", "certified", "proven"))

    for solution in (fast, certified, proven):
        certificate = {
            "length": solution.length,
            "lower_bound": solution.lower_bound,
            "tree_bound": solution.tree_bound,
            "potentials": solution.potentials.tolist(),
        }
        assert verify_tour(distances, solution.tour.tolist(), **certificate) == []
    assert fast.gap < 0.025
    assert certified.gap < 0.01
    assert proven.is_proven
    assert proven.length <= certified.length <= fast.length <= tour_length(distances, route(distances, "descent"))
    assert fast.length < tour_length(distances, nearest_neighbour_tour(distances))


def test_no_cut_that_is_found_forbids_the_optimum() -> None:
    distances = euclidean(np.random.default_rng(7).random((60, 2)))
    best = solve_tour(distances)
    u, v = surviving_edges(distances, best.potentials, best.tree_bound, best.length + 1)
    relaxation = Relaxation(60, u, v, distances[u, v])
    state = np.full(len(u), FREE, dtype=np.int8)
    cuts: list[Cut] = []

    for _ in range(12):
        x = relaxation.solve(state).x
        graph = (60, u[x > 0], v[x > 0], x[x > 0])
        found = [*find_subtours(*graph), *find_combs(*graph, num_starts=100, largest_tooth=12)]
        relaxation.add(found, x=x)
        cuts += found

    ends = best.tour, np.roll(best.tour, -1)
    assert len(cuts) > 20
    assert any(len(cut.sets) > 1 for cut in cuts)
    for cut in cuts:
        inside = np.zeros((len(cut.sets), 60), dtype=bool)
        for row, nodes in enumerate(cut.sets):
            inside[row, nodes] = True
        assert (inside[:, ends[0]] != inside[:, ends[1]]).sum() >= cut.at_least


@pytest.mark.parametrize(
    ("handle", "teeth", "message"),
    [
        ([0, 1, 2], [[0, 3], [1, 4]], "2 teeth"),
        ([0, 1, 2], [[0, 3], [1, 3], [2, 5]], "disjoint"),
        ([0, 1, 2], [[0, 3], [1, 4], [5, 6]], "inside and outside"),
    ],
)
def test_what_is_no_comb_is_refused(handle: list[int], teeth: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        comb(handle, teeth)


def test_other_processes_with_other_hash_seeds_find_the_same_tours() -> None:
    program = (
        "from tasks.task import EVALUATION_SEED\n"
        "from tasks.tsp.problem import Problem\n"
        "from tasks.tsp.solver import solve_tour\n"
        "solution = solve_tour(Problem('x', 5, 100, True).draw_instance(EVALUATION_SEED + 3).distances)\n"
        "print(solution.tour.tolist(), solution.lower_bound, solution.num_nodes)"
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

    solution = solve_tour(Problem("x", 5, 100, True).draw_instance(EVALUATION_SEED + 3).distances)
    here = f"{solution.tour.tolist()} {solution.lower_bound} {solution.num_nodes}\n"
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
        (np.array([[0, 1, 2], [1, 0, 3], [2, 4, 0]]), "from node 1 to node 2 is 3 and back 4"),
        (np.zeros((4, 4)), "type float64"),
        (-ring(5), "values >= 0"),
        (ring(5) * 2**50, "measure in a larger unit"),
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
