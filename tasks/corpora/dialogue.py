from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tasks.corpora.courses import describe_course, is_same
from tasks.corpora.lesson import Turn
from tasks.task import EVALUATION_SEED, Task
from tasks.tsp.cities import City, china, coordinates

NUM_CITIES = 60
"""Cities that are talked about: those with most people."""

QUESTIONS_A_LESSON, TURNS_A_TALK = 10, 4

_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "province": (
        "In which province is {city}?",
        "What province is {city} in?",
        "Which province does {city} belong to?",
        "{city} lies in which province?",
        "Tell me the province of {city}.",
        "Do you know which province {city} is in?",
    ),
    "people": (
        "How many people live in {city}?",
        "What is the population of {city}?",
        "How big is {city}?",
        "{city} has how many people?",
        "Tell me how many people {city} has.",
        "Do you know the population of {city}?",
    ),
    "nearest": (
        "Which large city is nearest to {city}?",
        "What large city is closest to {city}?",
        "Which large city lies next to {city}?",
        "{city} has which large city nearby?",
        "Tell me the large city nearest to {city}.",
        "Do you know the closest large city to {city}?",
    ),
    "to_beijing": (
        "How far is {city} from Beijing?",
        "What is the distance from {city} to Beijing?",
        "How many kilometres is it from {city} to Beijing?",
        "{city} is how far away from Beijing?",
        "Tell me how far {city} is from Beijing.",
        "Do you know the distance between {city} and Beijing?",
    ),
}
"""Wordings of the questions, of which evaluation keeps the last two of each to itself."""

_KEPT = 2
_LATER = "that city"


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
    from tasks.tsp.distances import great_circle_m

    cities = _largest()
    apart = great_circle_m(coordinates(cities))
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


def _largest() -> tuple[City, ...]:
    by_name: dict[str, City] = {}
    for city in china():
        by_name.setdefault(city.name, city)
    return tuple(by_name.values())[:NUM_CITIES]


@dataclass(frozen=True)
class CityQuestions:
    """Questions about large cities of China, each about a city of its own; evaluation asks in other words.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
    """

    number: int
    image_shape: None = None
    asks: bool = True

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        facts = city_facts()
        return [
            _ask(rng, facts[rng.integers(len(facts))], _draw_kind(rng), kept=seed >= EVALUATION_SEED)
            for _ in range(QUESTIONS_A_LESSON)
        ]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return is_same(turn, answer)


@dataclass(frozen=True)
class CityTalks:
    """Talks of four questions about one city, which is named only in the first; evaluation asks in other words.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
    """

    number: int
    image_shape: None = None
    asks: bool = True

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        facts, kinds = city_facts(), list(_QUESTIONS)
        about = facts[rng.integers(len(facts))]
        order = rng.permutation(len(kinds))[:TURNS_A_TALK]
        return [
            _ask(rng, about, kinds[kind], kept=seed >= EVALUATION_SEED, later=place > 0)
            for place, kind in enumerate(order)
        ]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return is_same(turn, answer)


def list_tasks() -> list[Task]:
    """Return the tasks that are talks."""
    questions, talks = (
        "Answer questions about large cities of China.",
        "Answer four questions about a city, one by one.",
    )
    size = {"licence": "CC-BY-4.0", "text_tokens": 14, "answer_tokens": 6}
    return [
        describe_course("dialogue/city-questions", CityQuestions(3), questions, **size),
        describe_course("dialogue/city-talks", CityTalks(4), talks, **size),
    ]


def list_sentences() -> list[str]:
    """Return the questions in every wording and the answers, from which a tokenizer learns its words."""
    forms = [form for some in _QUESTIONS.values() for form in some]
    asked = [forms[place % len(forms)].format(city=facts.city) for place, facts in enumerate(city_facts())]
    later = [form.format(city=_LATER) for form in forms]
    return asked + later + [answer for facts in city_facts() for answer in facts.answers.values()]


def _draw_kind(rng: np.random.Generator) -> str:
    kinds = list(_QUESTIONS)
    return kinds[rng.integers(len(kinds))]


def _ask(rng: np.random.Generator, facts: Facts, kind: str, *, kept: bool, later: bool = False) -> Turn:
    forms = _QUESTIONS[kind][-_KEPT:] if kept else _QUESTIONS[kind][:-_KEPT]
    question = forms[rng.integers(len(forms))].format(city=_LATER if later else facts.city)
    return Turn(facts.answers[kind], facts, question[0].upper() + question[1:])
