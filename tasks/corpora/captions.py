from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.corpora import maps
from tasks.corpora.courses import describe_course
from tasks.corpora.lesson import TURNS, Turn
from tasks.corpora.maps import MapCaptions
from tasks.corpora.own import describe_own
from tasks.corpora.rooms import COMBINATIONS, PLACES, SIDE, TILE, draw_room, render_room
from tasks.corpora.sentences import FORMS, RELATIONS, describe, share_right
from tasks.task import EVALUATION_SEED, Task


@dataclass(frozen=True)
class RoomCaptions:
    """Rooms to be described; an answer is right when every attribute is.

    In evaluation the first thing of each room has a colour, a kind and a place that no training room has together.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
        num_things: Things in a room: 1 for the simplest form, 2 for all forms.
    """

    number: int
    num_things: int
    image_shape: tuple[int, int, int] = (SIDE * TILE, SIDE * TILE, 3)
    asks: bool = False

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        rooms = [draw_room(rng, self.num_things, held_out=seed >= EVALUATION_SEED) for _ in range(TURNS)]
        return [Turn(describe(rng, things), things, image=render_room(things)) for things in rooms]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return float(share_right(turn.facts, answer) == 1.0)


def list_tasks() -> list[Task]:
    """Return the tasks whose answer is a caption."""
    one, two = "Say what stands in a room, and where.", "Say what two things stand in a room, and where."
    return [
        describe_course("captions/rooms-1", RoomCaptions(0, 1), one, licence="Apache-2.0", answer_tokens=9),
        describe_course(
            "captions/rooms-2", RoomCaptions(1, 2), two, licence="Apache-2.0", answer_tokens=22, num_episodes=4000
        ),
        describe_own("captions/own"),
        describe_course(
            "captions/maps",
            MapCaptions(6),
            "Name the cities that a tour on a map of China goes through.",
            licence="CC-BY-4.0",
            answer_tokens=24,
        ),
    ]


def list_sentences() -> list[str]:
    """Return sentences of every form, from which a tokenizer learns its words."""
    ways = [words for some in RELATIONS.values() for words in some]
    return maps.list_sentences() + [
        form.format(
            a=thing.phrase,
            b=COMBINATIONS[number - 7].phrase,
            where=ways[number % len(ways)],
            at_a=PLACES[number % len(PLACES)],
            at_b=PLACES[number % 7],
        )
        for number, thing in enumerate(COMBINATIONS)
        for form in (*FORMS, "{a} {at_a}")
    ]
