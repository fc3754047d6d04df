from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from tasks.corpora import trips
from tasks.corpora.courses import describe_course, is_same
from tasks.corpora.geography import largest_cities, ways_m
from tasks.corpora.lesson import TURNS, Turn, draw_one
from tasks.corpora.own import describe_own
from tasks.corpora.trips import TripTalks
from tasks.corpora.wordings import DIRECT, kept_wordings, training_wordings
from tasks.task import EVALUATION_SEED, Task

LATER = "that city"
"""What a talk calls the city after its first question."""


@dataclass(frozen=True)
class Facts:
    """What is said of a city.

    Args:
        city: Its name.
        answers: The answer to each kind of question.
    """

    city: str
    answers: Mapping[str, str]


@cache
def city_facts() -> tuple[Facts, ...]:
    """Return what is true of the largest cities: province, population, nearest of them, and way to Beijing.

    Populations are rounded to tenths of a million, ways to hundreds of kilometres.
    """
    cities, apart = largest_cities(), ways_m()
    beijing = [city.name for city in cities].index("Beijing")
    nearest = np.where(np.eye(len(cities), dtype=bool), np.iinfo(np.int64).max, apart).argmin(axis=1)
    return tuple(
        Facts(
            city.name,
            {
                "province": city.province,
                "people": f"{city.population / 1e6:.1f} million",
                "nearest": cities[nearest[row]].name,
                "to_beijing": f"{100 * round(int(apart[row, beijing]) / 100_000)} km",
            },
        )
        for row, city in enumerate(cities)
    )


@dataclass(frozen=True)
class CityLessons:
    """Questions about large cities of China; evaluation asks in other words.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
        is_talk: Whether a lesson asks everything about one city, which is named only in the first question; otherwise
            each question is about a city of its own.
    """

    number: int
    is_talk: bool
    image_shape: None = None
    asks: bool = True

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        asked = _draw_talk(rng) if self.is_talk else _draw_questions(rng)
        return [_ask(rng, facts, kind, name, kept=seed >= EVALUATION_SEED) for facts, kind, name in asked]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return is_same(turn, answer)


def list_tasks() -> list[Task]:
    """Return the tasks that are talks."""
    questions, talks = (
        "Answer questions about large cities of China.",
        "Answer four questions about a city, one by one.",
    )
    trip = "Say in which order a round trip through four cities is shortest, and how long it is."
    describe = partial(describe_course, licence="CC-BY-4.0")
    return [
        describe("dialogue/city-questions", CityLessons(3, is_talk=False), questions, text_tokens=17, answer_tokens=6),
        describe("dialogue/city-talks", CityLessons(4, is_talk=True), talks, text_tokens=17, answer_tokens=6),
        describe("dialogue/trips", TripTalks(7), trip, text_tokens=26, answer_tokens=14),
        describe_own("dialogue/own"),
    ]


def list_sentences() -> list[str]:
    """Return the questions in every wording and the answers, from which a tokenizer learns its words."""
    forms = [form for kind in DIRECT for form in training_wordings(kind) + kept_wordings(kind)]
    asked = [forms[place % len(forms)].format(city=facts.city) for place, facts in enumerate(city_facts())]
    later = [form.format(city=LATER) for form in forms]
    return (
        trips.list_sentences() + asked + later + [answer for facts in city_facts() for answer in facts.answers.values()]
    )


def _draw_questions(rng: np.random.Generator) -> Iterator[tuple[Facts, str, str]]:
    """Yield the facts, the kind and the city's name of questions that do not hang together."""
    for _ in range(TURNS):
        facts = draw_one(rng, city_facts())
        yield facts, draw_one(rng, list(DIRECT)), facts.city


def _draw_talk(rng: np.random.Generator) -> Iterator[tuple[Facts, str, str]]:
    """Yield the same of questions about one city."""
    facts, kinds = draw_one(rng, city_facts()), list(DIRECT)
    for place, kind in enumerate(rng.permutation(len(kinds)).tolist()):
        yield facts, kinds[kind], LATER if place else facts.city


def _ask(rng: np.random.Generator, facts: Facts, kind: str, name: str, *, kept: bool) -> Turn:
    question = draw_one(rng, kept_wordings(kind) if kept else training_wordings(kind)).format(city=name)
    return Turn(facts.answers[kind], facts, question[0].upper() + question[1:])
