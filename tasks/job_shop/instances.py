from __future__ import annotations

from functools import partial

import gymnasium

from tasks.job_shop.problem import KINDS, Problem
from tasks.task import Expert, Task

SIZES = ((6, 4), (6, 6), (8, 4), (8, 5), (8, 6), (10, 4), (10, 5), (10, 6))
"""Jobs and machines of an instance."""


def list_tasks() -> list[Task]:
    """Return a task for each kind of instance and eight sizes, without importing the solver.

    Their floor is the rule of most work remaining, which is about as far from random as random is from nothing.
    """
    problems = [(kind, *size) for kind in KINDS for size in SIZES]
    return [_describe(Problem(*parts, number)) for number, parts in enumerate(problems)]


def _describe(problem: Problem) -> Task:
    jobs, machines = problem.num_jobs, problem.num_machines
    return Task(
        id=f"job_shop/{problem.kind}-{jobs}x{machines}",
        make_environment=partial(_make_environment, problem),
        make_expert=partial(_make_expert, "optimal"),
        expert_route="solver",
        num_episodes=200,
        description=f"Schedule {jobs} jobs on {machines} machines ({problem.kind}) to be done soonest.",
        licence="Apache-2.0",
        code_version="1",
        baselines={rule: partial(_make_expert, rule) for rule in ("most_work_remaining", "shortest_time")},
        floor="most_work_remaining",
    )


def _make_environment(problem: Problem) -> gymnasium.Env:
    from tasks.job_shop.environment import ShopEnvironment

    return ShopEnvironment(problem)


def _make_expert(route: str) -> Expert:
    from tasks.job_shop.expert import RuleExpert, SolverExpert  # imports the solver

    return SolverExpert() if route == "optimal" else RuleExpert(route)
