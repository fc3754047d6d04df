from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from storage.manifest import recipe_key

TURNS = 10
"""Turns of a lesson, where they do not hang together."""

NUMBERS = ("none", "one", "two", "three", "four")
"""Answers to how many."""

Item = TypeVar("Item")


def draw_one(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    """Return one of some things, each with equal chance."""
    return items[int(rng.integers(len(items)))]


def is_one_in_five(**values: Any) -> bool:
    """Return whether JSON values are among a fifth of all that are chosen by their digest, which evaluation keeps."""
    return int(recipe_key(values)[:8], 16) % 5 == 0


@dataclass(frozen=True)
class Turn:
    """Something shown or asked, and what a teacher says to it.

    Args:
        answer: A right answer; others may be right too.
        facts: What is true, for the judge.
        question: What is asked; empty where the course asks nothing.
        image: What is shown, uint8 of shape (height, width, 3); None where the course shows nothing.
    """

    answer: str
    facts: Any
    question: str = ""
    image: NDArray[np.uint8] | None = None


class Course(Protocol):
    """Lessons of one kind, each a function of its seed.

    Seeds from ``EVALUATION_SEED`` on ask for what no training lesson has: other combinations, or other wordings.
    """

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Height, width and 3 of the images; None where nothing is shown."""
        ...

    @property
    def asks(self) -> bool:
        """Whether its turns have questions."""
        ...

    def draw(self, seed: int) -> Sequence[Turn]:
        """Return the turns of a lesson, at least one."""
        ...

    def judge(self, turn: Turn, answer: str) -> float:
        """Return how right an answer is, from 0 to 1."""
        ...
