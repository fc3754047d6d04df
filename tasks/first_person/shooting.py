from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

from tasks.first_person.scenario import ATTACK, FORWARD, LEFT, RIGHT, TICS_PER_STEP, TURNS_DEGREES, Action, turn
from tasks.first_person.sight import Sight, Thing, Wall

MONSTERS = frozenset(
    ("Cacodemon", "ChaingunGuy", "Demon", "DoomImp", "HellKnight", "MarineChainsawVzd", "ShotgunGuy", "Zombieman")
)
"""The engine's names of what shoots or bites; dead ones are called otherwise."""

FRICTION, THRUST = 0.90625, 0.75
"""Part of its velocity that a body keeps a tic, and what walking aside adds to it."""

_THROWER = "DoomImp"
_HALF_BODY = 14.0
_ROCKET_SPEED = 20.0
_ROCKET_DELAY_TICS = 9
_MONSTER_SPEED = 20.0 / 3.0
_MONSTER_RADIUS = 31.0
_PATIENCE_STEPS = 56
_MIDDLE = 200.0
_TURNS = tuple(sign * degrees for degrees in TURNS_DEGREES for sign in (1.0, -1.0))


def aim(error: float) -> Action:
    """Return the turn after which least is left of an angle, in degrees to the left, or to do nothing."""
    best = min((0.0, *_TURNS), key=lambda degrees: abs(error - degrees))
    return turn(best) if best else {}


class Strafe:
    """Steps aside until the monster stands in front of the barrel, and shoots a little before.

    Args:
        delay_tics: Tics between the trigger and the shot.
    """

    def __init__(self, delay_tics: int) -> None:
        self._delay_tics = delay_tics
        self._is_pulled = False

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        monster = next(thing for thing in sight.things if thing.name in MONSTERS)
        ways = {0.0: {}, 1.0: LEFT, -1.0: RIGHT}
        misses = {sign: abs(monster.y - self._slide(sight, sign)) for sign in ways}
        best = min(misses, key=lambda sign: misses[sign])
        self._is_pulled = sight.is_ready and not self._is_pulled and misses[best] < _HALF_BODY + 6.0
        return {**ways[best], **ATTACK} if self._is_pulled else ways[best]

    def _slide(self, sight: Sight, sign: float) -> float:
        y, velocity = sight.y, sight.vy
        for tic in range(self._delay_tics):
            velocity += sign * THRUST * (tic < TICS_PER_STEP)
            y += velocity
            velocity *= FRICTION
        return y


class Shoot:
    """Turns to the visible monster that is nearest and least aside, throwers first, and shoots; else it looks around.

    Args:
        reach: How far away a monster may be.
        holds_trigger: Whether the weapon goes on shooting while the trigger is held; otherwise it is pulled when ready.
    """

    def __init__(self, reach: float = math.inf, *, holds_trigger: bool = False) -> None:
        self._reach, self._holds_trigger = reach, holds_trigger
        self._places: dict[int, tuple[float, float]] = {}
        self._side = 1.0
        self.target = -1
        """The engine's number of the monster that is aimed at."""

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        action = self.fight(sight)
        return turn(self._side * TURNS_DEGREES[0]) if action is None else action

    def fight(self, sight: Sight) -> Action | None:
        """Return what to do against a visible monster; None when there is none."""
        before = self._places
        self._places = {thing.id: (thing.x, thing.y) for thing in sight.things}
        monsters = [thing for thing in sight.visible if thing.name in MONSTERS and self._is_open(sight, thing)]
        if not monsters:
            return None
        target = min(monsters, key=lambda monster: self._cost(sight, monster))
        self.target = target.id
        x, y = before.get(target.id, (target.x, target.y))
        low, high = sight.spans[target.id]
        error = sight.bearing(target.x, target.y)
        low, high = (3.0 * low + high) / 4.0, (low + 3.0 * high) / 4.0
        error = min(max(error, low), high) + sight.bearing(2.0 * target.x - x, 2.0 * target.y - y) - error
        self._side = math.copysign(1.0, error)
        is_hit = abs(error) < math.degrees(math.atan2(_HALF_BODY, sight.distance(target)))
        can_shoot = sight.is_ready or self._holds_trigger
        return ATTACK if can_shoot and (is_hit or not aim(error)) else aim(error)

    def _is_open(self, sight: Sight, monster: Thing) -> bool:
        low, high = sight.spans[monster.id]
        return sight.distance(monster) < self._reach and math.radians(high - low) * sight.distance(monster) > _HALF_BODY

    def _cost(self, sight: Sight, monster: Thing) -> float:
        """Return a distance to which a turn adds; that to throwers and to the present target counts as less."""
        cost = sight.distance(monster) + 3.0 * abs(sight.bearing(monster.x, monster.y))
        return cost - 100.0 * (monster.id == self.target) - 450.0 * (monster.name == _THROWER)


class Storm:
    """Shoots what is visible, and else goes for the armour; what it has missed twice it shoots at from nearer by."""

    def __init__(self) -> None:
        self._shoot = Shoot()
        self._misses: Counter[int] = Counter()
        self._steps_on = 0

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        action = self._shoot.fight(sight)
        if action is ATTACK:
            self._misses[self._shoot.target] += 1
            if self._misses[self._shoot.target] > 2:
                self._misses[self._shoot.target], self._steps_on = 0, 6
        self._steps_on -= 1
        if action is not None and self._steps_on < 0:
            return action
        armour = next((thing for thing in sight.things if thing.name == "GreenArmor"), None)
        error = 0.0 if armour is None else sight.bearing(armour.x, armour.y)
        return FORWARD if abs(error) < 9.0 else aim(error)


class Lead:
    """Aims a rocket at where the monster will be when it comes, and shoots while it goes straight and freely.

    Late in the episode it shoots in any case.
    """

    def __init__(self) -> None:
        self._places: list[tuple[float, float]] = []

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        monster = next((thing for thing in sight.things if thing.name in MONSTERS), None)
        if monster is None:
            return {}
        self._places.append((monster.x, monster.y))
        recent = self._places[-4:]
        if len(recent) == 1:
            return {}
        is_steady = len({y > before for (_, before), (_, y) in pairwise(recent)}) == 1
        is_straight = is_steady and abs(monster.x - recent[0][0]) < 1.0
        # Off its course it zigzags, half of the time along the line of sight, and half of its speed is left across it.
        speed = _MONSTER_SPEED if is_straight else _MONSTER_SPEED / math.sqrt(2.0)
        x, y = monster.x, monster.y
        for _ in range(4):
            tics = _ROCKET_DELAY_TICS + math.hypot(x - sight.x, y - sight.y) / _ROCKET_SPEED
            y = monster.y + math.copysign(speed, monster.y - recent[0][1]) * tics
        error = sight.bearing(x, y)
        if is_straight:
            is_sure = not any(_is_near(wall, x, monster.y, y) for wall in sight.walls)
        else:
            is_sure = is_steady and abs(y) < _MIDDLE and abs(monster.y - recent[0][1]) > _HALF_BODY
        is_time = is_sure or len(self._places) > _PATIENCE_STEPS
        return ATTACK if sight.is_ready and is_time and not aim(error) else aim(error)


def _is_near(wall: Wall, x: float, y1: float, y2: float) -> bool:
    """Return whether a monster that goes north or south at x from one place to the other comes near a wall's box."""
    low, high = min(y1, y2) - _MONSTER_RADIUS, max(y1, y2) + _MONSTER_RADIUS
    is_beside = max(wall.x1, wall.x2) < x - _MONSTER_RADIUS or min(wall.x1, wall.x2) > x + _MONSTER_RADIUS
    return not is_beside and max(wall.y1, wall.y2) > low and min(wall.y1, wall.y2) < high
