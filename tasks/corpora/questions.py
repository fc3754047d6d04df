from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.corpora import boards
from tasks.corpora.boards import BoardQuestions
from tasks.corpora.courses import describe_course, is_same
from tasks.corpora.lesson import NUMBERS, TURNS, Turn, draw_one
from tasks.corpora.rooms import COLOURS, COMBINATIONS, SIDE, TILE, Thing, draw_room, render_room
from tasks.corpora.sentences import RELATIONS, relations_of
from tasks.task import EVALUATION_SEED, Task

MOST_THINGS = 4
NOUNS = ("ball", "box", "key", "door")
_Asker = Callable[[np.random.Generator, Sequence[Thing]], tuple[str, str]]  # question and answer about a room

_HOW_MANY = (
    "how many {nouns} are there?",
    "how many {nouns} do you see?",
    "count the {nouns}",
    "what is the number of {nouns}?",
)
_IS_THERE = (
    "is there {thing}?",
    "do you see {thing}?",
    "can {thing} be seen?",
    "does the room have {thing}?",
)
_COLOUR = (
    "what colour is the {noun}?",
    "which colour does the {noun} have?",
    "the {noun} is of what colour?",
    "name the colour of the {noun}",
)
_WHERE = (
    "where is the {thing}?",
    "in which place is the {thing}?",
    "name the place of the {thing}",
    "say where the {thing} is",
)
_WHICH_WAY = (
    "which way is the {thing} from the {other}?",
    "on which side of the {other} is the {thing}?",
    "seen from the {other}, where is the {thing}?",
    "say where the {thing} is from the {other}",
)
_STATE = (
    "is the {colour} door open, closed or locked?",
    "what is the state of the {colour} door?",
    "how is the {colour} door?",
    "in what state is the {colour} door?",
)


@dataclass(frozen=True)
class RoomQuestions:
    """Questions about rooms of one to four things.

    They ask how many there are, whether one is there, for its colour and place, on which side of another it is, and for
    a door's state.

    In evaluation the first thing of each room, which most questions are about, has a colour, a kind and a place that
    no training room has together.

    Args:
        number: Number of the course, the first word of its lessons' seeds.
    """

    number: int
    image_shape: tuple[int, int, int] = (SIDE * TILE, SIDE * TILE, 3)
    asks: bool = True

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        rng = np.random.default_rng((self.number, seed))
        turns = []
        for _ in range(TURNS):
            things = draw_room(rng, int(rng.integers(1, MOST_THINGS + 1)), held_out=seed >= EVALUATION_SEED)
            kinds: list[_Asker] = [_how_many, _is_there]
            kinds += [_colour] if sum(thing.noun == things[0].noun for thing in things) == 1 else []
            kinds += [_where, _which_way] if len(things) > 1 else [_where]
            kinds += [_state] if _is_known_door(things) else []
            question, answer = draw_one(rng, kinds)(rng, things)
            turns.append(Turn(answer, things, question, render_room(things)))
        return turns

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return is_same(turn, answer)


def list_tasks() -> list[Task]:
    """Return the tasks whose answers are about an image."""
    return [
        describe_course(
            "questions/rooms",
            RoomQuestions(2),
            "Answer questions about the things in a room.",
            licence="Apache-2.0",
            text_tokens=16,
            answer_tokens=3,
        ),
        describe_course(
            "questions/boards",
            BoardQuestions(5),
            "Answer questions about the boxes, goals and player on one of Sokoban's boards.",
            licence="Apache-2.0",
            text_tokens=12,
            answer_tokens=6,
        ),
    ]


def list_sentences() -> list[str]:
    """Return sentences like the questions and answers, from which a tokenizer learns its words."""
    rng = np.random.default_rng(0)
    kinds: list[_Asker] = [_how_many, _is_there, _colour, _where]
    rooms = [draw_room(rng, 1 + place % MOST_THINGS, held_out=False) for place in range(100)]
    said = [kind(rng, things) for things in rooms for kind in kinds]
    asked = [sentence for pair in said for sentence in pair]
    asked += [form.format(thing=thing.words, other=thing.words) for form in _WHICH_WAY for thing in COMBINATIONS]
    states = [form.format(colour=colour) for form in _STATE for colour in COLOURS]
    return asked + states + boards.list_sentences() + ["open", "closed", "locked", *NUMBERS, *RELATIONS]


def _how_many(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    noun = things[0].noun if rng.random() < 0.5 else draw_one(rng, NOUNS)
    count = sum(thing.noun == noun for thing in things)
    nouns = "boxes" if noun == "box" else f"{noun}s"
    return draw_one(rng, _HOW_MANY).format(nouns=nouns), NUMBERS[count]


def _is_there(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    if rng.random() < 0.5:
        return draw_one(rng, _IS_THERE).format(thing=things[0].phrase), "yes"
    there = {thing.colour for thing in things if thing.kind == things[0].kind}
    other = Thing(draw_one(rng, [colour for colour in COLOURS if colour not in there]), things[0].kind)
    return draw_one(rng, _IS_THERE).format(thing=other.phrase), "no"


def _colour(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    return draw_one(rng, _COLOUR).format(noun=things[0].noun), things[0].colour


def _where(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    return draw_one(rng, _WHERE).format(thing=things[0].words), things[0].place.split(maxsplit=2)[-1]


def _which_way(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    question = draw_one(rng, _WHICH_WAY).format(thing=things[0].words, other=things[1].words)
    return question, relations_of(things[0], things[1])[0]


def _state(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    return draw_one(rng, _STATE).format(colour=things[0].colour), things[0].kind.split()[0]


def _is_known_door(things: Sequence[Thing]) -> bool:
    doors = [thing for thing in things if thing.noun == "door" and thing.colour == things[0].colour]
    return things[0].noun == "door" and len(doors) == 1
