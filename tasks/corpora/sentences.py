from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    "{a} {at_a} is {where} {b} {at_b}",
    "{a} {at_a} lies {where} {b} {at_b}",
    "{a} {at_a} stands {where} {b} {at_b}",
    "{where} {b} {at_b} is {a} {at_a}",
    "{where} {b} {at_b} lies {a} {at_a}",
    "{a} {at_a} and {b} {at_b}",
    "{a} is {at_a} and {b} is {at_b}",
    "{a} lies {at_a} and {b} {at_b}",
    "there is {a} {at_a} and {b} {at_b}",
    "you see {a} {at_a} and {b} {at_b}",
)
"""Sentences about two things; with 16 ways to say where one is from the other, and either first, there are 490."""

_PLACE = re.compile(rf"\b({'|'.join(sorted(PLACES, key=len, reverse=True))})\b")
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_THING = re.compile(rf"\ban? (?:(open|closed|locked) )?({'|'.join(COLOURS)}) (ball|box|key|door)\b")
_WORDS = sorted(((words, name) for name, ways in RELATIONS.items() for words in ways), key=lambda pair: -len(pair[0]))


@dataclass(frozen=True)
class Description:
    """What a sentence says of a room.

    Args:
        things: Those that it names, in order: colour, kind and place, which is empty where it is not said.
        relation: Where the first of two is from the second: one of ``RELATIONS``, or empty where it is not said.
    """

    things: tuple[tuple[str, str, str], ...]
    relation: str = ""


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
    form, where = draw_one(rng, FORMS), draw_one(rng, RELATIONS[relations_of(a, b)[0]])
    return form.format(a=a.phrase, b=b.phrase, where=where, at_a=a.place, at_b=b.place)


def read_sentence(sentence: str) -> Description:
    """Read a sentence of any form."""
    named = list(_THING.finditer(sentence))
    ends = [*(match.start() for match in named[1:]), len(sentence)]
    places = [_PLACE.search(sentence, match.end(), end) for match, end in zip(named, ends, strict=False)]
    things = tuple(
        (match[2], f"{match[1]} {match[3]}" if match[1] else match[3], place[0] if place else "")
        for match, place in zip(named, places, strict=True)
    )
    if len(named) == 2:
        without = _PLACE.sub(lambda place: "-" * len(place[0]), sentence)  # "at the left" is no side of anything
        for words, name in _WORDS:
            if found := re.search(rf"\b{words}\b", without):
                is_between = named[0].start() < found.start() < named[1].start()
                return Description(things, name if is_between else _OPPOSITE[name])
    return Description(things)


def share_right(things: Sequence[Thing], sentence: str) -> float:
    """Return the share of a room's attributes that a sentence names rightly.

    Each thing has a colour and a kind; of where they are the sentence is to say the side of one that the other is on,
    or the place of each, and all that it says counts. What is named beyond the things counts against it.
    """
    said = read_sentence(sentence)
    num_things = max(len(things), len(said.things))
    num_places = sum(bool(place) for *_, place in said.things) if said.relation else num_things
    best = 0
    for order in _orders(things):
        pairs = list(zip(said.things, order, strict=False))
        right = sum(
            (colour == thing.colour) + (kind == thing.kind) + (place == thing.place)
            for (colour, kind, place), thing in pairs
        )
        right += len(pairs) == len(things) == 2 and said.relation in relations_of(order[0], order[1])
        best = max(best, right)
    return best / (2 * num_things + num_places + bool(said.relation))


def _orders(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    yield things
    if len(things) == 2:
        yield things[::-1]
