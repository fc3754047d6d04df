from __future__ import annotations

from functools import partial

import gymnasium

from tasks.task import Expert, Task

GAMES = {
    "bigfish": "Eat the smaller fish and keep away from the larger",
    "bossfight": "Shoot down a spaceship with shields",
    "caveflyer": "Fly a ship through a cave to a friendly ship",
    "chaser": "Eat all dots of a maze with enemies",
    "climber": "Climb platforms and collect stars",
    "coinrun": "Run and jump to the coin at the level's end",
    "dodgeball": "Hit enemies with balls and dodge theirs",
    "fruitbot": "Collect fruit, and leave the rest, on the way through gates",
    "heist": "Collect the keys that open the way to a gem",
    "jumper": "Find the carrot of a cave with double jumps",
    "leaper": "Cross a road and a river",
    "maze": "Find the cheese of a maze",
    "miner": "Dig up diamonds and take them to the exit",
    "ninja": "Jump over ledges to the mushroom",
    "plunder": "Shoot at hostile ships and spare the friendly",
    "starpilot": "Shoot down what flies towards the ship",
}
"""Procgen's 16 games."""

WITH_GOAL = ("caveflyer", "climber", "coinrun", "heist", "jumper", "leaper", "maze", "miner", "ninja")
"""Games that a goal ends, whose expert looks for the way there; a planner plays the others."""


def list_tasks() -> list[Task]:
    """Return a task for each game, without importing envpool."""
    return [
        Task(
            id=f"procgen/{game}",
            make_environment=partial(_make_environment, game),
            make_expert=_make_explorer if game in WITH_GOAL else _make_planner,
            expert_route="planner",
            num_episodes=200,
            description=f"{description}, in a generated level.",
            licence="Apache-2.0 AND MIT",
            code_version="1",
            extra="procgen",
        )
        for game, description in GAMES.items()
    ]


def _make_environment(game: str) -> gymnasium.Env:
    from tasks.procgen.environment import ProcgenEnvironment

    return ProcgenEnvironment(game)


def _make_explorer() -> Expert:
    from tasks.procgen.expert import ExplorerExpert

    return ExplorerExpert()


def _make_planner() -> Expert:
    from tasks.procgen.expert import PlannerExpert

    return PlannerExpert()
