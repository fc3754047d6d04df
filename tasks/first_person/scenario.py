from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Action = Mapping[str, float]
"""Buttons that are pressed for a step, with their values; of the turning button, the degrees to the right a tic."""

TICS_PER_STEP = 4
"""The engine counts 35 tics a second, and an action lasts for four of them."""

TURNS_DEGREES = (18.0, 6.0, 2.0)
"""By how much the actions that aim turn in a step: fine enough for the farthest monster in two or three steps."""

ATTACK, FORWARD, BACKWARD = {"ATTACK": 1.0}, {"MOVE_FORWARD": 1.0}, {"MOVE_BACKWARD": 1.0}
LEFT, RIGHT = {"MOVE_LEFT": 1.0}, {"MOVE_RIGHT": 1.0}


def turn(degrees: float) -> Action:
    """Return the action that turns by this many degrees in a step, to the left when positive."""
    return {"TURN_LEFT_RIGHT_DELTA": -degrees / TICS_PER_STEP}


_TURNS = tuple(turn(sign * degrees) for degrees in TURNS_DEGREES for sign in (1.0, -1.0))

STRAFE = ({}, LEFT, RIGHT, ATTACK, {**ATTACK, **LEFT}, {**ATTACK, **RIGHT})
"""Step aside, and shoot."""

AIM = ({}, ATTACK, *_TURNS)
"""Turn on the spot, and shoot."""

WALK = (FORWARD, *({**FORWARD, **turn(sign * 18.0)} for sign in (1.0, -1.0)), turn(18.0), turn(-18.0))
"""Walk and turn."""

FIGHT = (*AIM, FORWARD, BACKWARD, LEFT, RIGHT, *({**FORWARD, **turn(sign * 18.0)} for sign in (1.0, -1.0)))
"""Turn, shoot and walk every way."""

DODGE = ({}, LEFT, RIGHT)
"""Step aside."""


@dataclass(frozen=True)
class Scenario:
    """A map of ViZDoom with what may be done in it.

    Args:
        name: The scenario's file among those that ViZDoom brings.
        description: One sentence for people.
        actions: What the player can do in a step.
        expert: The script that does it: ``strafe``, ``strafe-rocket``, ``shoot``, ``storm``, ``gather``, ``find``,
            ``lead``, ``dodge`` or ``hunt``.
        bar: Game variables that a player sees on the screen's bar, with the value that is shown as 0.
        skill: Doom's difficulty, 1 to 5: more damage from 2 on, faster monsters in 5.
        timeout_tics: Tics after which an episode is cut.
        target: What must be there, by the engine's name; an episode without it is not begun.
        distance: Its least distance from the start, where the map has several starts.
    """

    name: str
    description: str
    actions: tuple[Action, ...]
    expert: str
    bar: tuple[tuple[str, float], ...]
    skill: int = 3
    timeout_tics: int = 2100
    target: str = ""
    distance: float = 0.0
