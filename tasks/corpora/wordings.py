from __future__ import annotations

from collections.abc import Mapping, Sequence

DIRECT: Mapping[str, tuple[str, ...]] = {
    "province": (
        "in which province is {city}?",
        "what province is {city} in?",
        "which province does {city} belong to?",
        "{city} lies in which province?",
        "what is the province of {city}?",
        "{city} is part of which province?",
        "{city} belongs to what province?",
        "in what province does {city} lie?",
    ),
    "people": (
        "how many people live in {city}?",
        "what is the population of {city}?",
        "how big is {city}?",
        "{city} has how many people?",
        "how large is the population of {city}?",
        "what number of people does {city} have?",
        "{city} has what population?",
        "how many people are there in {city}?",
    ),
    "nearest": (
        "which large city is nearest to {city}?",
        "what large city is closest to {city}?",
        "which large city lies next to {city}?",
        "{city} has which large city nearby?",
        "what is the nearest large city to {city}?",
        "the large city closest to {city} is which one?",
        "{city} is next to which large city?",
        "which large city is close to {city}?",
    ),
    "to_beijing": (
        "how far is {city} from Beijing?",
        "what is the distance from {city} to Beijing?",
        "how many kilometres is it from {city} to Beijing?",
        "{city} is how far away from Beijing?",
        "how far away is Beijing from {city}?",
        "how long is the way from {city} to Beijing?",
        "from {city} to Beijing it is how far?",
        "how many kilometres are between {city} and Beijing?",
    ),
}
"""Questions, of which evaluation keeps the last two of each kind to itself."""

INDIRECT: Mapping[str, tuple[str, ...]] = {
    "province": (
        "the province of {city}",
        "in which province {city} is",
        "which province {city} belongs to",
        "what province {city} is part of",
        "in what province {city} lies",
    ),
    "people": (
        "the population of {city}",
        "how many people live in {city}",
        "how big {city} is",
        "what number of people {city} has",
        "how large the population of {city} is",
    ),
    "nearest": (
        "the large city nearest to {city}",
        "which large city is closest to {city}",
        "what large city lies next to {city}",
        "the closest large city to {city}",
        "which large city {city} is close to",
    ),
    "to_beijing": (
        "the distance from {city} to Beijing",
        "how far {city} is from Beijing",
        "how many kilometres it is from {city} to Beijing",
        "how long the way from {city} to Beijing is",
        "how far away Beijing is from {city}",
    ),
}
"""What is asked for after a beginning; evaluation keeps the last of each kind to itself."""

BEGINNINGS = (
    "tell me {what}.",
    "do you know {what}?",
    "please say {what}.",
    "can you say {what}?",
    "can you tell me {what}?",
)
"""Beginnings, of which evaluation keeps the last to itself."""


def training_wordings(kind: str) -> list[str]:
    """Return the ways in which lessons ask for something, each with a place for ``{city}``."""
    return [*DIRECT[kind][:-2], *_join(BEGINNINGS[:-1], INDIRECT[kind][:-1])]


def kept_wordings(kind: str) -> list[str]:
    """Return the ways in which evaluation alone asks: its own questions, and what is its own at beginning or end."""
    return [*DIRECT[kind][-2:], *_join(BEGINNINGS[:-1], INDIRECT[kind][-1:]), *_join(BEGINNINGS[-1:], INDIRECT[kind])]


def _join(beginnings: Sequence[str], ends: Sequence[str]) -> list[str]:
    return [beginning.format(what=end) for beginning in beginnings for end in ends]
