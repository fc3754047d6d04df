from __future__ import annotations

import math

from tasks.first_person.floor_plan import FloorPlan
from tasks.first_person.scenario import Action, turn
from tasks.first_person.shooting import Shoot
from tasks.first_person.sight import Sight, Thing
from tasks.first_person.walking import TURN_DEGREES, steer

_WEAPON, _WEAPON_NUMBER, _AMMO = "Chaingun", 4, "ClipBox"
_LOW_AMMO, _LOW_HEALTH = 20.0, 60.0
_CARE = frozenset(("Medikit", "Stimpack"))
_REACH = 700.0
_REPLAN_STEPS = 8


class Hunt:
    """Fetches the chaingun, shoots what it sees, and between times looks after health and ammunition; knows the map."""

    def __init__(self) -> None:
        self._shoot = Shoot(reach=_REACH, holds_trigger=True)
        self._plan: FloorPlan | None = None
        self._target: Thing | None = None
        self._goal = (math.nan, math.nan)
        self._age = 0

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        if self._plan is None:
            self._plan = FloorPlan(sight.walls)
        wanted = _find_want(sight)
        action = self._shoot.fight(sight) if sight.ammo else None
        is_urgent = _AMMO in wanted or sight.health < _LOW_HEALTH / 2.0
        if action is not None and not is_urgent:
            return action
        things = [thing for thing in sight.things if thing.name in wanted]
        if things:
            return self._fetch(self._plan, sight, things)
        return turn(TURN_DEGREES) if action is None else action

    def _fetch(self, plan: FloorPlan, sight: Sight, things: list[Thing]) -> Action:
        if self._age % _REPLAN_STEPS == 0 or self._target not in things:
            lengths = plan.measure(sight.x, sight.y)
            self._target = min(things, key=lambda thing: lengths[plan.cell(thing.x, thing.y)])
        self._age += 1
        return self._go(plan, sight, self._target.x, self._target.y)

    def _go(self, plan: FloorPlan, sight: Sight, x: float, y: float) -> Action:
        if (x, y) != self._goal:
            self._goal, self._lengths = (x, y), plan.measure(x, y)
        return steer(sight.bearing(*(plan.point_ahead(self._lengths, sight) or self._goal)))


def _find_want(sight: Sight) -> frozenset[str]:
    if sight.weapon != _WEAPON_NUMBER:
        return frozenset((_WEAPON,))
    if sight.ammo < _LOW_AMMO:
        return frozenset((_AMMO,))
    return _CARE if sight.health < _LOW_HEALTH else frozenset()
