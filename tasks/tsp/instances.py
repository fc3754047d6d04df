from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import gymnasium

from tasks.task import Expert, Task
from tasks.tsp.problem import Problem, Tier


def list_problems() -> list[Problem]:
    """Return the problems of DB1's 232 tasks and 32 with 100 cities, numbered in this order.

    Source:
        Wen et al., "On realization of intelligent decision-making in the real world: a foundation decision model
        perspective", 2022: 100 tasks of 100 and 100 of 200 nodes on the unit square, 32 of 200 Chinese cities.
    """
    named = [(f"tsp{num_nodes}-{number}", num_nodes, False) for num_nodes in (100, 200) for number in range(1, 101)]
    named += [(f"tsp{num_nodes}-city-{number}", num_nodes, True) for num_nodes in (200, 100) for number in range(32)]
    return [Problem(name, number, num_nodes, china) for number, (name, num_nodes, china) in enumerate(named)]


def problem_of(task_id: str) -> Problem:
    """Return the problem that a task is about.

    Raises:
        ValueError: If the family has no such task.
    """
    for problem in list_problems():
        if task_id == f"tsp/{problem.name}":
            return problem
    raise ValueError(f"unknown task {task_id!r}; expected one of the family tsp (see them with: db1 tasks)")


def list_tasks() -> list[Task]:
    """Return the tasks, without importing solver or compiler.

    Their floor is the nearest neighbour: against random tours, six times too long, even that scores 0.96 of the
    expert, so a score counted from random says next to nothing.
    """
    return [_describe(problem) for problem in list_problems()]


def with_tier(task: Task, tier: Tier) -> Task:
    """Return a task of this family whose expert certifies training tours so far; those for evaluation are proven."""
    return replace(task, make_expert=partial(_make_training_expert, tier), code_version=f"{task.code_version}-{tier}")


def _describe(problem: Problem) -> Task:
    where = "Chinese cities" if problem.over_china else "points of the unit square"
    return Task(
        id=f"tsp/{problem.name}",
        make_environment=partial(_make_environment, problem),
        make_expert=partial(_make_expert, "solver"),
        expert_route="solver",
        num_episodes=3200,
        description=f"Visit {problem.num_nodes} {where} once each and come back, as short as possible.",
        licence="CC-BY-4.0" if problem.over_china else "Apache-2.0",
        code_version="5",
        baselines={
            "nearest_neighbour": partial(_make_expert, "nearest_neighbour"),
            "or_tools": partial(_make_expert, "or_tools"),
            "or_tools_guided": partial(_make_expert, "or_tools_guided"),
            "local_search": partial(_make_expert, "fast"),
        },
        floor="nearest_neighbour",
    )


def _make_environment(problem: Problem) -> gymnasium.Env:
    from tasks.tsp.environment import TourEnvironment  # imports numba, which takes longer than all else here

    return TourEnvironment(problem)


def _make_expert(route: str) -> Expert:
    from tasks.tsp.expert import NearestNeighbour, TourExpert, routing_plan, solver_plan

    makers: dict[str, Callable[[], Expert]] = {
        "solver": partial(TourExpert, solver_plan),
        "or_tools": partial(TourExpert, partial(routing_plan, search="descent")),
        "or_tools_guided": partial(TourExpert, partial(routing_plan, search="guided")),
        "nearest_neighbour": NearestNeighbour,
        "fast": partial(TourExpert, partial(solver_plan, tier="fast")),
    }
    return makers[route]()


def _make_training_expert(tier: Tier) -> Expert:
    from tasks.tsp.expert import TourExpert, solver_plan

    return TourExpert(partial(solver_plan, training=tier))
