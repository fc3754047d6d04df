from __future__ import annotations

from functools import partial

import gymnasium

from tasks.bin_packing.problem import KINDS, Problem
from tasks.task import Expert, Task

SIZES = (6, 8, 10, 12)
"""Bins' worth of items of an instance."""


def list_tasks() -> list[Task]:
    """Return a task for each kind of instance and four sizes, without importing the solver.

    Their floor is best fit, which never needs much more than the optimum: from random even a bad packing looks good.
    """
    problems = [(kind, size) for kind in KINDS for size in SIZES]
    return [_describe(Problem(kind, size, number)) for number, (kind, size) in enumerate(problems)]


def _describe(problem: Problem) -> Task:
    return Task(
        id=f"bin_packing/{problem.kind}-{problem.num_bins}",
        make_environment=partial(_make_environment, problem),
        make_expert=partial(_make_expert, "optimal"),
        expert_route="solver",
        num_episodes=200,
        description=f"Pack items worth {problem.num_bins} bins ({problem.kind}) into as few bins as possible.",
        licence="Apache-2.0",
        code_version="1",
        baselines={"best_fit": partial(_make_expert, "best_fit")},
        floor="best_fit",
    )


def _make_environment(problem: Problem) -> gymnasium.Env:
    from tasks.bin_packing.environment import PackingEnvironment

    return PackingEnvironment(problem)


def _make_expert(route: str) -> Expert:
    from tasks.bin_packing.expert import BestFitExpert, SolverExpert  # imports the solver

    return SolverExpert() if route == "optimal" else BestFitExpert()
