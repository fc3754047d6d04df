from __future__ import annotations

from functools import partial

import gymnasium

from tasks.task import Expert, Task
from tasks.vehicle_routing.problem import KINDS, Problem

SIZES = (10, 15, 20, 25)
"""Customers of an instance."""


def list_tasks() -> list[Task]:
    """Return a task for each kind of instance and four sizes, without importing the solver.

    Their floor is the savings heuristic, which is a few per cent from the expert: from random any sensible routes
    look good.
    """
    problems = [(kind, size) for kind in KINDS for size in SIZES]
    return [_describe(Problem(kind, size, number)) for number, (kind, size) in enumerate(problems)]


def _describe(problem: Problem) -> Task:
    return Task(
        id=f"vehicle_routing/{problem.kind}-{problem.num_customers}",
        make_environment=partial(_make_environment, problem),
        make_expert=partial(_make_expert, "solver"),
        expert_route="solver",
        num_episodes=200,
        description=f"Serve {problem.num_customers} customers ({problem.kind}) by the shortest routes from a depot.",
        licence="Apache-2.0",
        code_version="1",
        baselines={"savings": partial(_make_expert, "savings"), "nearest": partial(_make_expert, "nearest")},
        floor="savings",
    )


def _make_environment(problem: Problem) -> gymnasium.Env:
    from tasks.vehicle_routing.environment import RoutingEnvironment

    return RoutingEnvironment(problem)


def _make_expert(route: str) -> Expert:
    from tasks.vehicle_routing.expert import NearestExpert, PlannedExpert  # imports the solver

    return NearestExpert() if route == "nearest" else PlannedExpert(route)
