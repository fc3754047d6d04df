from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import gymnasium

from tasks.mujoco.instances import list_tasks as list_robots
from tasks.mujoco.recipes import RECIPES
from tasks.multi_agent.factorisations import FACTORISATIONS, Factorisation
from tasks.multi_agent.scenarios import SCENARIOS, Scenario
from tasks.specialists.expert import refuse_untrained
from tasks.specialists.recipe import Recipe
from tasks.task import Expert, Task

_DISCOUNTS = {"gamma": 0.99, "gae_lambda": 0.95}
"""Defaults of Stable-Baselines3."""


def list_tasks() -> list[Task]:
    """Return a task for each scenario of particles and for each shared robot, without importing a simulator."""
    particles = [_describe_particles(name, scenario) for name, scenario in SCENARIOS.items()]
    robots = {task.name: task for task in list_robots()}
    return particles + [
        _describe_body(name, factorisation, robots.get(factorisation.robot))
        for name, factorisation in FACTORISATIONS.items()
    ]


def slow_down(recipe: Recipe, num_agents: int) -> Recipe:
    """Return a robot's recipe for a game in which a step of the robot is a turn for each agent.

    A joint step weighs as much as a step did before: steps, and those that PPO collects, are multiplied by the number
    of agents, and each factor by which it discounts is replaced by its root.
    """
    tuned = dict(recipe.hyperparameters)
    for name in _DISCOUNTS if recipe.algorithm == "ppo" else ("gamma",):
        tuned[name] = round(tuned.get(name, _DISCOUNTS[name]) ** (1.0 / num_agents), 6)
    for name in ("n_steps", "batch_size", "learning_starts"):
        if name in tuned:
            tuned[name] *= num_agents
    source = f"{recipe.source}; both of the robot as one agent, here slowed down for {num_agents} turns a step"
    return replace(recipe, steps=recipe.steps * num_agents, hyperparameters=tuned, source=source)


def _describe_particles(name: str, scenario: Scenario) -> Task:
    return Task(
        id=f"multi_agent/{name}",
        make_environment=partial(_make_particles, name),
        make_expert=_make_particle_expert,
        expert_route="script",
        num_episodes=400,
        description=scenario.description,
        licence="MIT",
        code_version="1",
        extra="multi_agent",
    )


def _describe_body(name: str, factorisation: Factorisation, robot: Task | None) -> Task:
    task = Task(
        id=f"multi_agent/{name}",
        make_environment=partial(_make_body, name),
        make_expert=partial(refuse_untrained, f"multi_agent/{name}"),
        expert_route="specialist",
        num_episodes=100,
        description=factorisation.description,
        licence="MIT",
        code_version="1" if robot is None else f"1-{robot.code_version}",
        extra="multi_agent",
    )
    if factorisation.robot == "ManySegmentSwimmer":
        return replace(task, make_expert=_make_wave_expert, expert_route="script")
    if robot is not None and robot.expert_route != "specialist":
        return replace(task, make_expert=partial(_share, robot.make_expert), expert_route=robot.expert_route)
    recipe = RECIPES["HalfCheetah" if factorisation.robot == "CoupledHalfCheetah" else factorisation.robot]
    return replace(task, recipe=slow_down(recipe, factorisation.num_agents))


def _make_particles(name: str) -> gymnasium.Env:
    from tasks.multi_agent.expert import opponent_of
    from tasks.multi_agent.particles import ParticleGame
    from tasks.multi_agent.turns import TurnEnvironment

    scenario = SCENARIOS[name]
    return TurnEnvironment(ParticleGame(scenario, opponent_of(scenario.module, scenario.team)))


def _make_particle_expert() -> Expert:
    from tasks.multi_agent.expert import ParticleExpert

    return ParticleExpert()


def _make_body(name: str) -> gymnasium.Env:
    from tasks.multi_agent.bodies import BodyGame
    from tasks.multi_agent.turns import TurnEnvironment

    return TurnEnvironment(BodyGame(FACTORISATIONS[name]))


def _make_wave_expert() -> Expert:
    from tasks.multi_agent.shared import WaveExpert

    return _share(WaveExpert)


def _share(make_expert: Callable[[], Expert]) -> Expert:
    from tasks.multi_agent.shared import SharedExpert

    return SharedExpert(make_expert)
