from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import gymnasium

from tasks.first_person.scenario import AIM, DODGE, FIGHT, STRAFE, WALK, Scenario
from tasks.task import Expert, Task

_HEALTH, _AMMO = ("HEALTH", 100.0), ("SELECTED_WEAPON_AMMO", 50.0)
_ARMOUR = ("ARMOR", 100.0)
_PLANNED = frozenset(("dodge", "find", "gather", "hunt"))

_shoot_aside = partial(Scenario, actions=STRAFE, bar=(_AMMO,), skill=5, timeout_tics=300)
_defend = partial(Scenario, actions=AIM, expert="shoot", bar=(_HEALTH, _AMMO))
_storm = partial(Scenario, "deadly_corridor", actions=FIGHT, expert="storm", bar=(_HEALTH, _AMMO))
_gather = partial(Scenario, actions=WALK, expert="gather", bar=(_HEALTH,))
_find = partial(Scenario, "my_way_home", actions=WALK, expert="find", bar=(_HEALTH,), target="GreenArmor")
_dodge = partial(Scenario, "take_cover", actions=DODGE, expert="dodge", bar=(_HEALTH,))

SCENARIOS: Mapping[str, Scenario] = {
    "basic": _shoot_aside("basic", "Step in front of a monster and shoot it.", expert="strafe"),
    "basic-plain": _shoot_aside("simpler_basic", "Step in front of a monster in a bare room.", expert="strafe"),
    "basic-rocket": _shoot_aside("rocket_basic", "Send a rocket to a monster.", expert="strafe-rocket"),
    "corridor-3": _storm("Fight through a corridor of gunmen to the armour.", skill=3),
    "corridor-5": _storm("Fight through a corridor of fast gunmen to the armour.", skill=5),
    "deathmatch": Scenario(
        "deathmatch", "Find a weapon and hunt the monsters of an arena.", FIGHT, "hunt", (_HEALTH, _ARMOUR, _AMMO), 3
    ),
    "defend-center": _defend("defend_the_center", "Turn and shoot monsters that come from all sides; save bullets."),
    "defend-center-5": _defend("defend_the_center", "Turn and shoot fast monsters from all sides.", skill=5),
    "defend-line": _defend("defend_the_line", "Turn and shoot ever tougher monsters along a wall."),
    "defend-line-5": _defend("defend_the_line", "Turn and shoot ever tougher and fast monsters.", skill=5),
    "health": _gather("health_gathering", "Stay alive on an acid floor by walking to medikits."),
    "health-maze": _gather("health_gathering_supreme", "Find medikits in a maze with an acid floor and poison."),
    "home": _find("Find the armour in a building of many rooms.", skill=5),
    "home-far": _find("Find the armour from the far rooms.", skill=5, distance=600.0),
    "predict": Scenario(
        "predict_position",
        "Hit a passing monster with one rocket.",
        AIM,
        "lead",
        (_AMMO,),
        1,
        300,
        target="Cacodemon",
    ),
    "take-cover": _dodge("Dodge the fireballs of ever more monsters.", skill=4),
    "take-cover-5": _dodge("Dodge the fast fireballs of ever more monsters.", skill=5),
}
"""ViZDoom's scenarios by the names of their tasks; a number is Doom's difficulty where it is not the usual one."""


def list_tasks() -> list[Task]:
    """Return a task for each scenario, without importing ViZDoom."""
    return [
        Task(
            id=f"first_person/{name}",
            make_environment=partial(_make_environment, scenario),
            make_expert=_make_expert,
            expert_route="planner" if scenario.expert in _PLANNED else "script",
            num_episodes=100,
            description=scenario.description,
            licence="MIT",
            code_version="1",
            extra="first_person",
        )
        for name, scenario in SCENARIOS.items()
    ]


def _make_environment(scenario: Scenario) -> gymnasium.Env:
    from tasks.first_person.environment import FirstPersonEnvironment

    return FirstPersonEnvironment(scenario)


def _make_expert() -> Expert:
    from tasks.first_person.expert import ScriptedExpert

    return ScriptedExpert()
