from __future__ import annotations

from functools import partial

import gymnasium

from tasks.task import Expert, Task

LEVELS = (
    *((6, num_boxes, "medium") for num_boxes in (1, 2, 3)),
    *((7, num_boxes, "medium") for num_boxes in (1, 2, 3, 4)),
    *((8, num_boxes, "medium") for num_boxes in (2, 3, 4, 5)),
    *((10, num_boxes, "medium") for num_boxes in (1, 2, 3, 4, 5)),
    *((size, num_boxes, "easy") for size, num_boxes in ((8, 3), (10, 3), (10, 4))),
    *((size, num_boxes, "hard") for size, num_boxes in ((7, 3), (8, 3), (8, 4), (10, 3), (10, 4))),
)
"""Rows, boxes and difficulty of each task's levels; a medium one's id has no third part."""


def list_tasks() -> list[Task]:
    """Return a task for each size, number of boxes and difficulty, without importing the solver."""
    return [_describe(*level) for level in LEVELS]


def _describe(size: int, num_boxes: int, difficulty: str) -> Task:
    suffix = "" if difficulty == "medium" else f"-{difficulty}"
    boxes = "a box onto a goal" if num_boxes == 1 else f"{num_boxes} boxes onto goals"
    return Task(
        id=f"sokoban/{size}x{size}-{num_boxes}{suffix}",
        make_environment=partial(_make_environment, size, num_boxes, difficulty),
        make_expert=_make_expert,
        expert_route="planner",
        num_episodes=1000,
        description=f"Push {boxes} in a walled room of {size} x {size} cells ({difficulty}).",
        licence="Apache-2.0",
        code_version="1",
    )


def _make_environment(size: int, num_boxes: int, difficulty: str) -> gymnasium.Env:
    from tasks.sokoban.environment import SokobanEnvironment  # imports numba, which takes longer than all else here
    from tasks.sokoban.problem import Problem

    return SokobanEnvironment(Problem(size, num_boxes, difficulty))


def _make_expert() -> Expert:
    from tasks.sokoban.expert import PlannerExpert

    return PlannerExpert()
