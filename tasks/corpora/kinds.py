from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from tasks.corpora.dialogue import LATER, Facts
from tasks.corpora.lesson import Turn
from tasks.corpora.questions import NUMBERS
from tasks.corpora.rooms import COLOURS, Thing
from tasks.corpora.trips import Trip
from tasks.corpora.wordings import kept_wordings, training_wordings

_OF_CITIES = {
    "province": "province",
    "people": "population",
    "nearest": "nearest city",
    "to_beijing": "way to Beijing",
}
_OF_ROOMS = {
    "is it there": ("yes", "no"),
    "colour": tuple(COLOURS),
    "state of a door": ("open", "closed", "locked"),
    "number": NUMBERS,
}


def kind_of(turn: Turn) -> str:
    """Return in a few words what is asked for in a turn; empty where nothing is, or in a user's own questions."""
    if not turn.question:
        return ""
    match turn.facts:
        case Facts(city=city):
            return _wordings(city).get(turn.question.casefold(), "other")
        case Trip():
            return "length" if turn.answer.endswith("km") else "order"
        case np.ndarray():
            return "number" if "how many" in turn.question else "beside the player"
        case Sequence() as things if all(isinstance(thing, Thing) for thing in things):
            where = "side of another" if len(things) > 1 and things[1].words in turn.question else "place"
            return next((kind for kind, answers in _OF_ROOMS.items() if turn.answer in answers), where)
    return ""


@cache
def _wordings(city: str) -> dict[str, str]:
    """Return every question about a city in small letters, and its kind."""
    return {
        form.format(city=name).casefold(): told
        for kind, told in _OF_CITIES.items()
        for form in (*kept_wordings(kind), *training_wordings(kind))
        for name in (city, LATER)
    }
