from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Literal

_COLOURS = ("blue", "green", "grey", "purple", "red", "yellow")
_THINGS = ("key", "ball", "box")
_FETCH = ("get a", "go get a", "fetch a", "go fetch a", "you must fetch a")
_GOAL_SQUARE = (
    "get to the green goal square",
    "avoid the lava and get to the green goal square",
    "find the opening and get to the green goal square",
    "use the key to open the door and then get to the goal",
    "reach the goal",
    "traverse the rooms to get to the goal",
)
_MATCH = "go to the matching object at the end of the hallway"
_OPEN = "open the door"
_OPEN_BOTH = "open the red door then the blue door"

Verb = Literal["reach", "fetch", "take", "visit", "put", "open", "match"]


@dataclass(frozen=True)
class Mission:
    """What a mission's sentence asks for.

    Args:
        verb: ``reach`` the goal square, ``fetch`` or ``take`` a thing (to fetch another one ends the episode),
            ``visit`` it and say so, ``put`` one thing near another, ``open`` doors in turn, or ``match`` the object
            at the hallway's start.
        things: Colour and kind of what it is about; the colour is empty where none is said.
        room: Colour of the door behind which the key lies, where that is said.
    """

    verb: Verb
    things: tuple[tuple[str, str], ...] = ()
    room: str = ""

    @property
    def may_move(self) -> bool:
        """Whether things that stand in the way may be picked up."""
        return self.verb in ("reach", "take", "open")

    @property
    def may_open(self) -> bool:
        """Whether doors may be opened that the mission does not name."""
        return self.verb in ("reach", "take")


def parse_mission(sentence: str) -> Mission:
    """Understand a mission of MiniGrid.

    Raises:
        ValueError: If it is none.
    """
    thing = rf"({'|'.join(_COLOURS)}) (key|ball|box|door)"
    if sentence in _GOAL_SQUARE:
        return Mission("reach")
    if sentence == _MATCH:
        return Mission("match")
    if sentence == _OPEN:
        return Mission("open", (("", "door"),))
    if sentence == _OPEN_BOTH:
        return Mission("open", (("red", "door"), ("blue", "door")))
    if found := re.fullmatch(r"get the \w+ key from the (\w+) room, unlock the \w+ door and go to the goal", sentence):
        return Mission("reach", room=found[1])
    if found := re.fullmatch(rf"put the {thing} near the {thing}", sentence):
        return Mission("put", ((found[1], found[2]), (found[3], found[4])))
    patterns: tuple[tuple[Verb, str], ...] = (
        ("fetch", "|".join(_FETCH)),
        ("take", "pick up the"),
        ("visit", "go to the"),
    )
    for verb, words in patterns:
        if found := re.fullmatch(rf"(?:{words}) {thing}", sentence):
            return Mission(verb, ((found[1], found[2]),))
    raise ValueError(f"the mission {sentence!r} is unknown; expected one of MiniGrid's, see list_missions()")


def list_missions() -> list[str]:
    """Return every mission of MiniGrid."""
    things = [f"{colour} {kind}" for colour, kind in product(_COLOURS, _THINGS)]
    missions = [*_GOAL_SQUARE, _MATCH, _OPEN, _OPEN_BOTH]
    missions += [f"{words} {thing}" for words, thing in product((*_FETCH, "pick up the", "go to the"), things)]
    missions += [f"go to the {colour} door" for colour in _COLOURS]
    missions += [f"put the {one} near the {other}" for one, other in product(things, things) if one != other]
    missions += [
        f"get the {lock} key from the {room} room, unlock the {lock} door and go to the goal"
        for lock, room in product(_COLOURS, _COLOURS)
        if lock != room
    ]
    return missions
