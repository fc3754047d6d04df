from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import vizdoom

_PLAYER = "DoomPlayer"
_BODY_HEIGHT = 56.0


@dataclass(frozen=True)
class Thing:
    """Something in the map, in the map's units and the engine's tics.

    Args:
        id: The engine's number of it, which it keeps while it exists.
        name: The engine's name of its kind.
        x: Position to the east.
        y: Position to the north.
        vx: Velocity to the east; 0 of monsters, which move by leaps.
        vy: Velocity to the north.
    """

    id: int
    name: str
    x: float
    y: float
    vx: float
    vy: float


@dataclass(frozen=True)
class Wall:
    """A side of a wall, from one point to the other."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Sight:
    """Where the player is, what there is and which of it is on the screen.

    Args:
        x: The player's position to the east.
        y: The player's position to the north.
        angle: Where the player looks, in degrees, 0 for the east and 90 for the north.
        vx: The player's velocity to the east.
        vy: The player's velocity to the north.
        health: The player's health.
        ammo: The shots that the weapon in hand has left.
        weapon: The number of the weapon in hand.
        is_ready: Whether the weapon can shoot.
        things: All things but the player.
        visible: Those of which a pixel is on the screen.
        spans: By a visible thing's number, between which bearings its pixels lie, in degrees; the smaller one first.
        walls: What nobody can walk through: walls, and the edges of what is too low to stand in.
    """

    x: float
    y: float
    angle: float
    vx: float
    vy: float
    health: float
    ammo: float
    weapon: int
    is_ready: bool
    things: tuple[Thing, ...]
    visible: tuple[Thing, ...]
    spans: Mapping[int, tuple[float, float]]
    walls: tuple[Wall, ...]

    def distance(self, place: Thing) -> float:
        """Return how far away it is."""
        return math.hypot(place.x - self.x, place.y - self.y)

    def bearing(self, x: float, y: float) -> float:
        """Return by how many degrees the player must turn to look at the place, to the left when positive."""
        degrees = math.degrees(math.atan2(y - self.y, x - self.x)) - self.angle
        return (degrees + 180.0) % 360.0 - 180.0


def look(game: vizdoom.DoomGame) -> Sight:
    """Return the engine's true state of what there is."""
    state = game.get_state()
    middle = game.get_screen_width() / 2.0  # also the focal length, since the view is 90 degrees wide
    spans = {
        label.object_id: (
            math.degrees(math.atan((middle - label.x - label.width) / middle)),
            math.degrees(math.atan((middle - label.x) / middle)),
        )
        for label in state.labels or ()
    }
    things = tuple(
        Thing(thing.id, thing.name, thing.position_x, thing.position_y, thing.velocity_x, thing.velocity_y)
        for thing in state.objects
        if thing.name != _PLAYER
    )
    variable, read = vizdoom.GameVariable, game.get_game_variable
    return Sight(
        x=read(variable.POSITION_X),
        y=read(variable.POSITION_Y),
        angle=read(variable.ANGLE),
        vx=read(variable.VELOCITY_X),
        vy=read(variable.VELOCITY_Y),
        health=read(variable.HEALTH),
        ammo=read(variable.SELECTED_WEAPON_AMMO),
        weapon=int(read(variable.SELECTED_WEAPON)),
        is_ready=bool(read(variable.ATTACK_READY)),
        things=things,
        visible=tuple(thing for thing in things if thing.id in spans),
        spans=spans,
        walls=tuple(
            Wall(line.x1, line.y1, line.x2, line.y2)
            for sector in state.sectors
            for line in sector.lines
            if line.is_blocking or sector.ceiling_height - sector.floor_height < _BODY_HEIGHT
        ),
    )
