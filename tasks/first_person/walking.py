from __future__ import annotations

import numpy as np

from tasks.first_person.floor_plan import FloorPlan
from tasks.first_person.scenario import FORWARD, Action, turn
from tasks.first_person.sight import Sight, Thing

_KITS = frozenset(("Medikit", "CustomMedikit"))
_POISON = "Poison"
_POISON_RADIUS = 44.0
_STRAIGHT_DEGREES, _CURVE_DEGREES = 9.0, 60.0
TURN_DEGREES = 18.0
_FULL_TURN_STEPS = 20
_REPLAN_STEPS = 6


def steer(error: float) -> Action:
    """Return the action that walks towards a place this many degrees to the left."""
    if abs(error) <= _STRAIGHT_DEGREES:
        return FORWARD
    curve = turn(TURN_DEGREES if error > 0 else -TURN_DEGREES)
    return {**FORWARD, **curve} if abs(error) < _CURVE_DEGREES else curve


class Find:
    """Walks the shortest way to the armour; it knows the map and where it is."""

    def __init__(self) -> None:
        self._plan: FloorPlan | None = None

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        goal = next((thing for thing in sight.things if thing.name == "GreenArmor"), None)
        if goal is None:
            return FORWARD
        if self._plan is None:
            self._plan = FloorPlan(sight.walls, size=16.0)
            self._lengths = self._plan.measure(goal.x, goal.y)
        x, y = self._plan.point_ahead(self._lengths, sight) or (goal.x, goal.y)
        return steer(sight.bearing(x, y))


class Gather:
    """Walks to the medikit that is soonest reached around walls and poison, of those that it sees or has seen.

    With none known it looks all around, and then goes to the nearest that there is.
    """

    def __init__(self) -> None:
        self._plan: FloorPlan | None = None
        self._seen: set[int] = set()
        self._target: Thing | None = None
        self._turns = self._age = 0

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        if self._plan is None:
            self._plan = FloorPlan(sight.walls)
        self._seen |= {thing.id for thing in sight.visible if thing.name in _KITS}
        kits = {thing.id: thing for thing in sight.things if thing.name in _KITS}
        known = [kit for kit in kits.values() if kit.id in self._seen]
        if not known and self._turns < _FULL_TURN_STEPS:
            self._turns += 1
            return turn(TURN_DEGREES)
        self._turns = 0 if known else self._turns
        self._age += 1
        if self._target is None or self._target.id not in kits or self._age >= _REPLAN_STEPS:
            self._choose(self._plan, sight, known or list(kits.values()))
        target = self._target
        if target is None:
            return turn(TURN_DEGREES)
        x, y = self._plan.point_ahead(self._lengths, sight) or (target.x, target.y)
        return steer(sight.bearing(x, y))

    def _choose(self, plan: FloorPlan, sight: Sight, kits: list[Thing]) -> None:
        poison = [thing for thing in sight.things if thing.name == _POISON]
        lengths = plan.measure(sight.x, sight.y, poison, radius=_POISON_RADIUS)
        costs = [lengths[plan.cell(kit.x, kit.y)] + 1.0 * abs(sight.bearing(kit.x, kit.y)) for kit in kits]
        self._target, self._age = None, 0
        if costs and np.isfinite(min(costs)):
            self._target = kits[int(np.argmin(costs))]
            self._lengths = plan.measure(self._target.x, self._target.y, poison, radius=_POISON_RADIUS)
