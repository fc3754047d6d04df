from __future__ import annotations

from functools import partial

import gymnasium

from tasks.task import Expert, Task

NUM_FUNCTIONS = 24
DIMENSIONS = (2, 3, 5, 10, 20, 40)
"""Dimensions of the BBOB suite."""


def list_tasks() -> list[Task]:
    """Return a task for each function of the BBOB suite in each of its dimensions, without importing it."""
    return [_describe(function, dimension) for function in range(1, NUM_FUNCTIONS + 1) for dimension in DIMENSIONS]


def _describe(function: int, dimension: int) -> Task:
    return Task(
        id=f"black_box/f{function:02d}-d{dimension}",
        make_environment=partial(_make_environment, function, dimension),
        make_expert=_make_expert,
        expert_route="solver",
        num_episodes=200,
        description=f"Minimise BBOB function {function} in {dimension} dimensions from its values alone.",
        licence="BSD-3-Clause",
        code_version="1",
        extra="black_box",
    )


def _make_environment(function: int, dimension: int) -> gymnasium.Env:
    from tasks.black_box.environment import SearchEnvironment

    return SearchEnvironment(function, dimension)


def _make_expert() -> Expert:
    from tasks.black_box.expert import EvolutionExpert

    return EvolutionExpert()
