from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import gymnasium

from tasks.mujoco.recipes import RECIPES
from tasks.specialists.expert import refuse_untrained
from tasks.task import Expert, Task

_DESCRIPTIONS: Mapping[str, str] = {
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
    return [_describe(name) for name in _DESCRIPTIONS]


def _describe(name: str) -> Task:
    task_id = f"mujoco/{name}"
    route, make_expert = _EXPERTS.get(name, ("specialist", partial(refuse_untrained, task_id)))
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, name),
        make_expert=make_expert,
        expert_route=route,
        num_episodes=200,
        description=_DESCRIPTIONS[name],
        licence="MIT",
        code_version="1",
        extra="mujoco",
        recipe=RECIPES.get(name),
    )


def _make_environment(name: str) -> gymnasium.Env:
    from tasks.mujoco.environment import ROBOTS, MujocoEnvironment

    return MujocoEnvironment(ROBOTS[name])


def _balance_one_pole() -> Expert:
    from tasks.mujoco.expert import BalancingExpert

    return BalancingExpert((1.0, 10.0, 0.1, 0.1), 0.01)


def _balance_two_poles() -> Expert:
    from tasks.mujoco.expert import BalancingExpert

    return BalancingExpert((1.0, 10.0, 10.0, 0.1, 0.1, 0.1), 1.0)


def _reach() -> Expert:
    from tasks.mujoco.expert import ReachingExpert

    return ReachingExpert()


def _swim() -> Expert:
    from tasks.mujoco.feedback import FeedbackExpert, read_gains

    gains = read_gains(Path(__file__).with_name("gains.csv"))
    return FeedbackExpert("mujoco/Swimmer", gains["Swimmer"])


_EXPERTS: Mapping[str, tuple[Literal["solver", "planner", "script"], Callable[[], Expert]]] = {
    "InvertedDoublePendulum": ("solver", _balance_two_poles),
    "InvertedPendulum": ("solver", _balance_one_pole),
    "Reacher": ("planner", _reach),
    "Swimmer": ("script", _swim),
}
