from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tasks.corpora.geography import spread_cities
from tasks.corpora.lesson import TURNS, Turn, draw_one, is_one_in_five
from tasks.task import EVALUATION_SEED
from tasks.tsp.cities import coordinates
from tasks.tsp.projection import project

SIDE = 96
"""Pixels of a map's side."""

STOPS = 3
_FINE = 4  # pixels that become one
FORMS = (
    "a tour of {a}, {b} and {c}",
    "a round trip through {a}, {b} and {c}",
    "from {a} to {b} and {c} and back",
    "the tour goes from {a} to {b}, then to {c}",
)
"""Captions of a map."""


@dataclass(frozen=True)
class MapCaptions:
    """Maps of China with a tour of three cities to be named, in any order; evaluation shows other threes.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
    """

    number: int
    image_shape: tuple[int, int, int] = (SIDE, SIDE, 3)
    asks: bool = False

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        return [_show(rng, held_out=seed >= EVALUATION_SEED) for _ in range(TURNS)]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return float(set(_names().findall(answer)) == set(turn.facts))


def list_sentences() -> list[str]:
    """Return captions in every form, from which a tokenizer learns its words."""
    names = [city.name for city in spread_cities()]
    threes = [(a, names[place - 5], names[place - 11]) for place, a in enumerate(names)]
    return [form.format(a=a, b=b, c=c) for a, b, c in threes for form in FORMS]


def is_held_out(names: Sequence[str]) -> bool:
    """Return whether three cities occur together in evaluation alone; about one three in five does."""
    return is_one_in_five(cities=sorted(names))


def render_map(stops: Sequence[int]) -> NDArray[np.uint8]:
    """Draw the cities that are spread out as dots and a closed tour through some, given by their places among them."""
    places = _places() * _FINE
    picture = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), (250, 248, 242))
    pen = ImageDraw.Draw(picture)
    for x, y in places:
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(190, 195, 205))
    tour = [tuple(places[stop]) for stop in stops]
    pen.line([*tour, tour[0]], fill=(30, 90, 170), width=7)
    for x, y in tour:
        pen.ellipse((x - 11, y - 11, x + 11, y + 11), fill=(215, 80, 30))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)


def _show(rng: np.random.Generator, *, held_out: bool) -> Turn:
    names = [city.name for city in spread_cities()]
    while True:
        stops = rng.choice(len(names), STOPS, replace=False).tolist()
        chosen = tuple(names[stop] for stop in stops)
        if is_held_out(chosen) == held_out:
            caption = draw_one(rng, FORMS).format(**dict(zip("abc", chosen, strict=True)))
            return Turn(caption, chosen, image=render_map(stops))


@cache
def _places() -> NDArray[np.float64]:
    """Return pixels from the left and from the top of the cities, shape (cities, 2)."""
    flat = project(coordinates(spread_cities())) * (1, -1)
    low, high = flat.min(0), flat.max(0)
    return 6 + (flat - (low + high) / 2 + (high - low).max() / 2) / (high - low).max() * (SIDE - 12)


@cache
def _names() -> re.Pattern[str]:
    return re.compile("|".join(sorted((re.escape(city.name) for city in spread_cities()), key=len, reverse=True)))
