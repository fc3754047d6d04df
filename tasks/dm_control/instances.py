from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import gymnasium

from tasks.dm_control.recipes import recipe_of
from tasks.specialists.expert import refuse_untrained, refuse_without_recipe
from tasks.task import Expert, Task

NAMES: Mapping[str, tuple[str, ...]] = {
    "acrobot": ("swingup", "swingup_sparse"),
    "ball_in_cup": ("catch",),
    "cartpole": ("balance", "balance_sparse", "swingup", "swingup_sparse", "two_poles", "three_poles"),
    "cheetah": ("run",),
    "dog": ("stand", "walk", "trot", "run", "fetch"),
    "finger": ("spin", "turn_easy", "turn_hard"),
    "fish": ("upright", "swim"),
    "hopper": ("stand", "hop"),
    "humanoid": ("stand", "walk", "run", "run_pure_state"),
    "humanoid_CMU": ("stand", "walk", "run"),
    "lqr": ("lqr_2_1", "lqr_6_2"),
    "manipulator": ("bring_ball", "bring_peg", "insert_ball", "insert_peg"),
    "pendulum": ("swingup",),
    "point_mass": ("easy", "hard"),
    "quadruped": ("walk", "run", "escape", "fetch"),
    "reacher": ("easy", "hard"),
    "stacker": ("stack_2", "stack_4"),
    "swimmer": ("swimmer6", "swimmer15"),
    "walker": ("stand", "walk", "run"),
}
"""The suite's 51 tasks by domain, in its own order."""

_SCRIPTED = ("pendulum", "point_mass", "reacher", "swimmer")
_SOLVED = ("acrobot", "cartpole", "lqr")


def list_tasks() -> list[Task]:
    """Return the tasks of DeepMind's control suite, without importing it."""
    return [_task(domain, name) for domain, names in NAMES.items() for name in names]


def _task(domain: str, name: str) -> Task:
    task_id = f"dm_control/{domain}-{name}"
    has_controller = domain in _SCRIPTED + _SOLVED
    recipe = None if has_controller else recipe_of(f"{domain}-{name}")
    refuse = refuse_untrained if recipe else refuse_without_recipe
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, domain, name),
        make_expert=_make_controller if has_controller else partial(refuse, task_id),
        expert_route="script" if domain in _SCRIPTED else "solver" if domain in _SOLVED else "specialist",
        num_episodes=200,
        description=f"Control a simulated body: {domain.replace('_', ' ')}, {name.replace('_', ' ')}.",
        licence="Apache-2.0",
        code_version="1",
        extra="dm_control",
        recipe=recipe,
    )


def _make_environment(domain: str, name: str) -> gymnasium.Env:
    from tasks.dm_control.environment import SuiteEnvironment

    return SuiteEnvironment(domain, name)


def _make_controller() -> Expert:
    from tasks.dm_control.expert import ControllerExpert

    return ControllerExpert()
