from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import gymnasium

from tasks.mujoco.recipes import RECIPES
from tasks.specialists.expert import refuse_untrained
from tasks.task import Task

DESCRIPTIONS: Mapping[str, str] = {
    "Ant": "Run on four legs, by the torques of eight joints.",
    "HalfCheetah": "Run on a hind and a front leg in the plane, by the torques of six joints.",
    "Hopper": "Hop on one leg in the plane, by the torques of three joints.",
    "Humanoid": "Walk upright, by the torques of seventeen joints.",
    "HumanoidStandup": "Rise from the back, by the torques of seventeen joints.",
    "InvertedDoublePendulum": "Keep two poles, one on the other, upright on a cart by pushing it.",
    "InvertedPendulum": "Keep a pole upright on a cart by pushing it.",
    "Pusher": "Push a cylinder to a goal with an arm of seven joints.",
    "Reacher": "Bring the tip of an arm of two joints to a goal.",
    "Swimmer": "Swim by bending two joints.",
    "Walker2d": "Walk on two legs in the plane, by the torques of six joints.",
}


def list_tasks() -> list[Task]:
    """Return a task for each robot of gymnasium's MuJoCo suite, without importing the simulator."""
    return [_describe(name) for name in DESCRIPTIONS]


def _describe(name: str) -> Task:
    task_id = f"mujoco/{name}"
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, name),
        make_expert=partial(refuse_untrained, task_id),
        expert_route="specialist",
        num_episodes=200,
        description=DESCRIPTIONS[name],
        licence="MIT",
        code_version="1",
        extra="mujoco",
        recipe=RECIPES[name],
    )


def _make_environment(name: str) -> gymnasium.Env:
    from tasks.mujoco.environment import ROBOTS, MujocoEnvironment

    return MujocoEnvironment(ROBOTS[name])
