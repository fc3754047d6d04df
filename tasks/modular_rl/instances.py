from __future__ import annotations

from dataclasses import replace
from functools import partial

import gymnasium

from tasks.modular_rl.morphologies import MORPHOLOGIES, Robot
from tasks.mujoco.recipes import RECIPES
from tasks.specialists.expert import refuse_untrained
from tasks.specialists.recipe import Recipe
from tasks.task import Task

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
    kind, parts, *rest = name.split("-")
    which = f" ({' '.join(rest)})" if rest else ""
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, name),
        make_expert=partial(refuse_untrained, task_id),
        expert_route="specialist",
        num_episodes=200,
        description=f"Run forward as a {kind} of {parts} parts{which}.",
        licence="MIT",
        code_version="1",
        extra="modular_rl",
        recipe=recipe_for(robot),
    )


def _make_environment(name: str) -> gymnasium.Env:
    from tasks.modular_rl.environment import MorphologyEnvironment

    return MorphologyEnvironment(name)
