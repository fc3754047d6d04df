from __future__ import annotations

import math

from tasks.first_person.scenario import ATTACK, FORWARD, LEFT, RIGHT, TICS_PER_STEP, TURNS_DEGREES, Action, turn
from tasks.first_person.sight import Sight, Thing

MONSTERS = frozenset(
    ("Cacodemon", "ChaingunGuy", "Demon", "DoomImp", "HellKnight", "MarineChainsawVzd", "ShotgunGuy", "Zombieman")
)
"""The engine's names of what shoots or bites; dead ones are called otherwise."""

FRICTION, THRUST = 0.90625, 0.75
"""Part of its velocity that a body keeps a tic, and what walking aside adds to it."""

_HALF_BODY = 14.0
_ROCKET_SPEED = 20.0
_ROCKET_DELAY_TICS = 9
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
    """Turns to the visible monster that is nearest and least aside, and shoots; with none in sight, it looks around."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[float, float]] = {}
        self._target, self._side = -1, 1.0

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
        self._target = target.id
        x, y = before.get(target.id, (target.x, target.y))
        low, high = sight.spans[target.id]
        error = sight.bearing(target.x, target.y)
        error = min(max(error, low), high) + sight.bearing(2.0 * target.x - x, 2.0 * target.y - y) - error
        self._side = math.copysign(1.0, error)
        is_hit = abs(error) < math.degrees(math.atan2(_HALF_BODY, sight.distance(target)))
        return ATTACK if sight.is_ready and (is_hit or not aim(error)) else aim(error)

    def _is_open(self, sight: Sight, monster: Thing) -> bool:
        low, high = sight.spans[monster.id]
        return math.radians(high - low) * sight.distance(monster) > _HALF_BODY

    def _cost(self, sight: Sight, monster: Thing) -> float:
        cost = sight.distance(monster) + 3.0 * abs(sight.bearing(monster.x, monster.y))
        return cost - 100.0 * (monster.id == self._target)


class Storm:
    """Shoots what is visible, and else goes for the armour."""

    def __init__(self) -> None:
        self._shoot = Shoot()

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        action = self._shoot.fight(sight)
        if action is not None:
            return action
        armour = next((thing for thing in sight.things if thing.name == "GreenArmor"), None)
        error = 0.0 if armour is None else sight.bearing(armour.x, armour.y)
        return FORWARD if abs(error) < 9.0 else aim(error)


class Lead:
    """Aims a rocket at where the monster will be when it comes, and shoots while the monster goes straight on."""

    def __init__(self) -> None:
        self._places: list[Thing] = []

    def act(self, sight: Sight) -> Action:
        """Return the next action."""
        monster = next((thing for thing in sight.things if thing.name in MONSTERS), None)
        if monster is None:
            return {}
        self._places = [*self._places[-3:], monster]
        span = TICS_PER_STEP * (len(self._places) - 1)
        if not span:
            return {}
        vx, vy = (monster.x - self._places[0].x) / span, (monster.y - self._places[0].y) / span
        x, y = monster.x, monster.y
        for _ in range(4):
            tics = _ROCKET_DELAY_TICS + math.hypot(x - sight.x, y - sight.y) / _ROCKET_SPEED
            x, y = monster.x + vx * tics, monster.y + vy * tics
        error = sight.bearing(x, y)
        is_steady = span == 3 * TICS_PER_STEP and abs(y) < 560.0
        return ATTACK if is_steady and not aim(error) else aim(error)
