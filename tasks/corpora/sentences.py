from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from tasks.corpora.lesson import draw_one
from tasks.corpora.rooms import COLOURS, PLACES, Thing

RELATIONS = {
    "left": ("left of", "to the left of", "on the left of", "west of"),
    "right": ("right of", "to the right of", "on the right of", "east of"),
    "above": ("above", "over", "higher than", "north of"),
    "below": ("below", "under", "lower than", "south of"),
}
"""Ways to say where something is."""

FORMS = (
    "{a} {where} {b}",
    "{a} is {where} {b}",
    "{a} lies {where} {b}",
    "there is {a} {where} {b}",
    "you see {a} {where} {b}",
    "in the room {a} is {where} {b}",
    "{a} can be seen {where} {b}",
    "{where} {b} is {a}",
    "{where} {b} there is {a}",
    "{where} {b} you see {a}",
)
"""Sentences about two things; with 16 ways to say where and either thing first there are 320."""

_PLACE = re.compile(rf"\b({'|'.join(sorted(PLACES, key=len, reverse=True))})\b")
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_THING = re.compile(rf"\ban? (?:(open|closed|locked) )?({'|'.join(COLOURS)}) (ball|box|key|door)\b")
_WORDS = sorted(((words, name) for name, ways in RELATIONS.items() for words in ways), key=lambda pair: -len(pair[0]))


def relations_of(a: Thing, b: Thing) -> list[str]:
    """Return where a thing is, seen from another one: one or two of ``RELATIONS``, the plainer first."""
    across, down = a.column - b.column, a.row - b.row
    found = [(abs(across), 1, "left" if across < 0 else "right"), (abs(down), 0, "above" if down < 0 else "below")]
    return [name for apart, _, name in sorted(found, reverse=True) if apart]


def describe(rng: np.random.Generator, things: Sequence[Thing]) -> str:
    """Say in one of many forms what is in a room of one or two things."""
    if len(things) == 1:
        return f"{things[0].phrase} {things[0].place}"
    a, b = (things[place] for place in rng.permutation(2))
    ways = RELATIONS[relations_of(a, b)[0]]
    return draw_one(rng, FORMS).format(a=a.phrase, b=b.phrase, where=draw_one(rng, ways))


def attributes_of(sentence: str) -> tuple[list[tuple[str, str]], str]:
    """Read a sentence of any form.

    Returns:
        Colour and kind of the things that it names, in order, and where the first is: seen from the second, or where in
        the room when it is the only one; empty where it does not say.
    """
    named = [(match[2], f"{match[1]} {match[3]}" if match[1] else match[3]) for match in _THING.finditer(sentence)]
    places = [match.start() for match in _THING.finditer(sentence)]
    if len(named) == 1 and (place := _PLACE.search(sentence)):
        return named, place[0]
    for words, name in _WORDS:
        if (found := re.search(rf"\b{words}\b", sentence)) and len(named) == 2:
            return named, name if places[0] < found.start() < places[1] else _OPPOSITE[name]
    return named, ""


def share_right(things: Sequence[Thing], sentence: str) -> float:
    """Return the share of a room's attributes that a sentence names rightly.

    Each thing has a colour and a kind, and it counts where they are; what is named beyond them counts against the
    sentence.
    """
    named, where = attributes_of(sentence)
    best = 0
    for order in _orders(things):
        right = 0
        for (colour, kind), thing in zip(named, order, strict=False):
            right += (colour == thing.colour) + (kind == thing.kind)
        if len(named) == len(things):
            right += where in ([order[0].place] if len(order) == 1 else relations_of(order[0], order[1]))
        best = max(best, right)
    return best / (2 * max(len(things), len(named)) + 1)


def _orders(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    yield things
    if len(things) == 2:
        yield things[::-1]
