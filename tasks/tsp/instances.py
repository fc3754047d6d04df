from __future__ import annotations

from collections.abc import Callable
from functools import partial

import gymnasium

from tasks.task import Expert, Task


def list_tasks() -> list[Task]:
    """Return DB1's 232 tasks and 32 with 100 cities, numbered in this order.

    Source:
        Wen et al., "On realization of intelligent decision-making in the real world: a foundation decision model
        perspective", 2022: 100 tasks of 100 and 100 of 200 nodes on the unit square, 32 of 200 Chinese cities.
    """
    named = [(f"tsp{num_nodes}-{number}", num_nodes, False) for num_nodes in (100, 200) for number in range(1, 101)]
    named += [(f"tsp{num_nodes}-city-{number}", num_nodes, True) for num_nodes in (200, 100) for number in range(32)]
    return [_describe(name, number, num_nodes, china) for number, (name, num_nodes, china) in enumerate(named)]


def _describe(name: str, number: int, num_nodes: int, over_china: bool) -> Task:
    where = "Chinese cities" if over_china else "points of the unit square"
    return Task(
        id=f"tsp/{name}",
        make_environment=partial(_make_environment, name, number, num_nodes, over_china),
        make_expert=partial(_make_expert, "solver"),
        expert_route="solver",
        num_episodes=1600,
        description=f"Visit {num_nodes} {where} once each and come back, as short as possible.",
        licence="CC-BY-4.0" if over_china else "Apache-2.0",
        code_version="1",
        baselines={name: partial(_make_expert, name) for name in ("nearest_neighbour", "or_tools")},
        floor="nearest_neighbour",
    )


def _make_environment(name: str, number: int, num_nodes: int, over_china: bool) -> gymnasium.Env:
    from tasks.tsp.environment import TourEnvironment  # imports numba, which takes longer than all else here
    from tasks.tsp.problem import Problem

    return TourEnvironment(Problem(name, number, num_nodes, over_china))


def _make_expert(route: str) -> Expert:
    from tasks.tsp.expert import NearestNeighbour, TourExpert, routing_plan, solver_plan

    makers: dict[str, Callable[[], Expert]] = {
        "solver": partial(TourExpert, solver_plan),
        "or_tools": partial(TourExpert, routing_plan),
        "nearest_neighbour": NearestNeighbour,
    }
    return makers[route]()
