from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out
from tasks.vehicle_routing.environment import RoutingEnvironment
from tasks.vehicle_routing.expert import PlannedExpert, find_routes, save_ways
from tasks.vehicle_routing.problem import KINDS, Instance, Problem


def _shortest(instance: Instance) -> int:
    customers, best = range(1, instance.num_nodes), np.inf
    for order in permutations(customers):
        for cuts in product((False, True), repeat=len(customers) - 1):
            routes = [[order[0]]]
            for stop, is_cut in zip(order[1:], cuts, strict=True):
                routes = [*routes, [stop]] if is_cut else [*routes[:-1], [*routes[-1], stop]]
            if all(instance.demands[route].sum() <= instance.capacity for route in routes):
                best = min(best, instance.length(routes))
    return int(best)


@pytest.mark.parametrize("kind", ["central-uniform-varied", "corner-clustered-unit"])
def test_the_routes_are_the_shortest_of_all_and_not_below_the_bound(kind: str) -> None:
    for seed in range(3):
        instance = Problem(kind, 6, 0).draw(seed)

        routes = find_routes(instance)

        assert sorted(stop for route in routes for stop in route) == list(range(1, 7))
        assert all(instance.demands[route].sum() <= instance.capacity for route in routes)
        assert instance.radial_bound <= instance.length(routes) == _shortest(instance)


def test_savings_join_the_neighbours_on_either_side_of_the_depot() -> None:
    points = np.array([[0, 0], [10, 0], [11, 0], [-10, 0], [-11, 0]])
    distances = np.abs(points[:, None, 0] - points[None, :, 0])

    routes = save_ways(Instance(points, np.array([0, 1, 1, 1, 1]), 2, distances))

    assert sorted(map(sorted, routes)) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_experts_episode_is_as_long_as_its_plan_and_stays_in_range(kind: str) -> None:
    task = get_task(f"vehicle_routing/{kind}-10")

    first, again = (next(roll_out(task, ExpertPolicy(task.make_expert), [5], num_slots=1)) for _ in range(2))

    found, summary = first.provenance, first.provenance["summary"]
    assert summary["length"] == found["planned_length"]
    assert first.total_return == pytest.approx(-summary["length"] / summary["lower_bound"])
    np.testing.assert_array_equal(first.actions, again.actions)
    for seen in first.observations.values():
        assert np.abs(seen).max() <= 1.0
        assert np.ptp(seen) > 0.5


def test_the_expert_is_proven_against_savings() -> None:
    task = get_task("vehicle_routing/central-uniform-unit-15")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
    assert len(tasks_of("vehicle_routing")) == 32


def test_what_cannot_be_routed_is_refused() -> None:
    with pytest.raises(ValueError, match="0 customers of kind 'central-uniform-unit'; expected at least 1"):
        Problem("central-uniform-unit", 0, 0)
    with pytest.raises(ValueError, match="unknown plan 'guess'"):
        PlannedExpert("guess")
    environment = RoutingEnvironment(Problem("central-uniform-unit", 5, 0))
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="choice 0 at node 0"):
        environment.step(0)
