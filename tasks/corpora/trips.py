from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations

import numpy as np

from tasks.corpora.courses import is_same
from tasks.corpora.geography import largest_cities, spread_cities, ways_m
from tasks.corpora.lesson import TURNS, Turn, draw_one, is_one_in_five
from tasks.task import EVALUATION_SEED

STOPS = 4
"""Cities of a trip, with the one where it begins and ends."""

_WHICH_WAY = (
    "what is the shortest round trip from {a} through {b}, {c} and {d}?",
    "in which order should I visit {b}, {c} and {d} from {a}?",
    "from {a}, what is the best order of {b}, {c} and {d}?",
)
_HOW_LONG = ("how long is it?", "how long is that trip?", "how many kilometres is it?")


@dataclass(frozen=True)
class Trip:
    """A round trip.

    Args:
        cities: The cities by name, in the order in which it is shortest; the first is where it begins.
        length_m: Its length in metres.
    """

    cities: tuple[str, ...]
    length_m: int


@dataclass(frozen=True)
class TripTalks:
    """Talks about the shortest round trip through four large cities: its order, then its length.

    An order is right when no other is shorter; evaluation asks for other fours.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
    """

    number: int
    image_shape: None = None
    asks: bool = True

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        return [turn for _ in range(TURNS // 2) for turn in _talk(rng, held_out=seed >= EVALUATION_SEED)]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        if turn.answer.endswith("km"):
            return is_same(turn, answer)
        start, *others = turn.facts.cities
        named = _names().findall(answer)
        named = named[1:] if named[:1] == [start] else named
        return float(sorted(named) == sorted(others) and _measure([start, *named]) == turn.facts.length_m)


def list_sentences() -> list[str]:
    """Return questions and answers in every form, from which a tokenizer learns its words."""
    names = [city.name for city in spread_cities()]
    fours = [(a, names[place - 5], names[place - 11], names[place - 7]) for place, a in enumerate(names)]
    asked = [form.format(a=a, b=b, c=c, d=d) for a, b, c, d in fours for form in _WHICH_WAY]
    return [*asked, *_HOW_LONG, *(f"{b}, {c}, {d}" for _, b, c, d in fours), "1000 km", "2500 km"]


def is_held_out(cities: Sequence[str]) -> bool:
    """Return whether four cities occur together in evaluation alone; about one four in five does."""
    return is_one_in_five(trip=sorted(cities))


def find_trip(cities: Sequence[str]) -> Trip:
    """Return the shortest round trip through a few cities from the first one, by trying every order.

    Of its two directions it is the one whose second city comes first in the alphabet.
    """
    start, *others = cities
    orders = [(start, *order) for order in permutations(sorted(others)) if order[0] <= order[-1]]
    best = min(orders, key=_measure)
    return Trip(best, _measure(best))


def _talk(rng: np.random.Generator, *, held_out: bool) -> Iterator[Turn]:
    names = [city.name for city in spread_cities()]
    while True:
        chosen = [names[place] for place in rng.choice(len(names), STOPS, replace=False).tolist()]
        if is_held_out(chosen) == held_out:
            break
    trip = find_trip(chosen)
    question = draw_one(rng, _WHICH_WAY).format(**dict(zip("abcd", chosen, strict=True)))
    yield Turn(", ".join(trip.cities[1:]), trip, question)
    yield Turn(f"{100 * round(trip.length_m / 100_000)} km", trip, draw_one(rng, _HOW_LONG))


def _measure(cities: Sequence[str]) -> int:
    places = [_places()[name] for name in cities]
    return sum(int(ways_m()[a, b]) for a, b in pairwise([*places, places[0]]))


@cache
def _places() -> dict[str, int]:
    return {city.name: place for place, city in enumerate(largest_cities())}


@cache
def _names() -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, _places()), key=len, reverse=True)))
