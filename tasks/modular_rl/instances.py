from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tasks.modular_rl.morphologies import MORPHOLOGIES, Robot
from tasks.mujoco.feedback import FeedbackExpert, read_gains
from tasks.mujoco.recipes import RECIPES
from tasks.specialists.expert import refuse_untrained
from tasks.specialists.recipe import Recipe
from tasks.task import Expert, Task

_WHOLE = {"cheetah": "HalfCheetah", "hopper": "Hopper", "humanoid": "Walker2d", "walker": "Walker2d"}


def list_tasks() -> list[Task]:
    """Return a task for each body, without importing the simulator."""
    return [_describe(name) for name in MORPHOLOGIES]


def recipe_for(robot: Robot) -> Recipe:
    """Return the recipe of the whole robot for any of its bodies, with the whole robot's score.

    The paper shows scores as curves of one policy for all bodies of a kind, so the score to reach is that of
    gymnasium's whole robot, whose reward differs little; a body of few limbs may fall short of it. A humanoid in the
    plane has the reward of a walker, and takes its recipe.
    """
    whole = _WHOLE[robot]
    recipe = RECIPES[whole]
    return replace(recipe, source=f"{recipe.source}; both are of gymnasium's whole {whole}")


def _describe(name: str) -> Task:
    task_id, robot = f"modular_rl/{name}", MORPHOLOGIES[name].robot
    is_scripted = name in _gains()
    kind, parts, *rest = name.split("-")
    which = f" ({' '.join(rest)})" if rest else ""
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, name),
        make_expert=partial(_make_feedback if is_scripted else refuse_untrained, task_id),
        expert_route="script" if is_scripted else "specialist",
        num_episodes=200,
        description=f"Run forward as a {kind} of {parts} parts{which}.",
        licence="MIT",
        code_version="1",
        extra="modular_rl",
        recipe=None if is_scripted else recipe_for(robot),
    )


def _make_environment(name: str) -> gymnasium.Env:
    from tasks.modular_rl.environment import MorphologyEnvironment

    return MorphologyEnvironment(name)


def _make_feedback(task_id: str) -> Expert:
    return FeedbackExpert(task_id, _gains()[task_id.split("/", 1)[1]])


@cache
def _gains() -> dict[str, NDArray[np.float64]]:
    return read_gains(Path(__file__).with_name("gains.csv"))
