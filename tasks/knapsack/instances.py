from __future__ import annotations

from functools import partial

import gymnasium

from tasks.knapsack.problem import KINDS, Problem
from tasks.task import Expert, Task

SIZES = (20, 30, 40, 50)
"""Items of an instance."""


def list_tasks() -> list[Task]:
    """Return a task for each of Pisinger's classes and four sizes, without importing the solver.

    Their floor is the greedy choice: it comes within a few per cent of the optimum, so a score counted from random
    says next to nothing.
    """
    problems = [(kind, size) for kind in KINDS for size in SIZES]
    return [_describe(Problem(kind, size, number)) for number, (kind, size) in enumerate(problems)]


def _describe(problem: Problem) -> Task:
    return Task(
        id=f"knapsack/{problem.kind}-{problem.num_items}",
        make_environment=partial(_make_environment, problem),
        make_expert=partial(_make_expert, "optimal"),
        expert_route="solver",
        num_episodes=1000,
        description=f"Choose from {problem.num_items} items ({problem.kind}) what is worth most and fits.",
        licence="Apache-2.0",
        code_version="1",
        baselines={"greedy": partial(_make_expert, "greedy")},
        floor="greedy",
    )


def _make_environment(problem: Problem) -> gymnasium.Env:
    from tasks.knapsack.environment import KnapsackEnvironment

    return KnapsackEnvironment(problem)


def _make_expert(route: str) -> Expert:
    from tasks.knapsack.expert import GreedyExpert, OptimalExpert  # imports the solver

    return OptimalExpert() if route == "optimal" else GreedyExpert()
