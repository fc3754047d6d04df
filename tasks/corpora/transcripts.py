from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from storage.episode import Episode
from tasks.corpora.captions import RoomCaptions
from tasks.corpora.judging import CaptionScores, score_captions
from tasks.corpora.kinds import kind_of
from tasks.corpora.lesson import Course, Turn, draw_one
from tasks.corpora.maps import FORMS, MapCaptions
from tasks.corpora.sentences import describe, share_right
from tasks.task import Task

NUM_REFERENCES = 5
"""Descriptions that a caption is compared with: as many as a picture of COCO has."""

_REFERENCE_SEED = 77


@dataclass(frozen=True)
class Said:
    """A turn of a lesson with the model's answer.

    Args:
        course: Where the lesson comes from.
        turn: What was shown, asked and expected.
        answer: What the model said.
        score: How right it is, from 0 to 1.
    """

    course: Course
    turn: Turn
    answer: str
    score: float

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong with the answer."""
        return self.score == 1.0

    @property
    def kind(self) -> str:
        """What was asked for; empty where nothing was, or where it isn't known."""
        return kind_of(self.turn)

    def share_of(self, caption: str) -> float | None:
        """Return which share of a room's attributes a caption names rightly; None where no room is to be described."""
        return share_right(self.turn.facts, caption) if isinstance(self.course, RoomCaptions) else None


@dataclass(frozen=True)
class CaptionRow:
    """How good somebody's captions are.

    Args:
        name: Whose they are.
        right: Share of those that are wholly right.
        attributes: Mean share of the attributes that are right; None where no rooms are described.
        scores: BLEU and CIDEr.
    """

    name: str
    right: float
    attributes: float | None
    scores: CaptionScores


def find_course(task: Task) -> Course | None:
    """Return the course of a task of lessons; None for a task of another kind."""
    from tasks.corpora.environment import LessonEnvironment

    environment = task.make_environment().unwrapped
    return environment.course if isinstance(environment, LessonEnvironment) else None


def transcribe(course: Course, episode: Episode) -> list[Said]:
    """Return the turns of a played lesson.

    Raises:
        ValueError: If the lesson of the episode's seed expects other answers than when it was played.
    """
    played, turns = episode.provenance["summary"], course.draw(episode.seed)
    if (expected := [turn.answer for turn in turns]) != played["expected"]:
        raise ValueError(
            f"the lesson of task {episode.task!r}, seed {episode.seed}, expects {expected}; when it was played it "
            f"expected {played['expected']}. Play it again with:\n  db1 make evaluation {episode.task}"
        )
    answers = zip(turns, played["answers"], played["scores"], strict=True)
    return [Said(course, turn, answer, score) for turn, answer, score in answers]


def accuracy_by_kind(said: Sequence[Said]) -> Mapping[str, tuple[int, int]]:
    """Return how many answers are right, and of how many, for each kind of question and ``all`` last."""
    counts: dict[str, tuple[int, int]] = {}
    for kind, is_right in sorted((one.kind, one.is_right) for one in said):
        for name in filter(None, (kind, "all")):
            right, number = counts.pop(name, (0, 0))
            counts[name] = right + is_right, number + 1
    return counts


def compare_captions(said: Sequence[Said]) -> list[CaptionRow]:
    """Measure the model's captions, the teacher's, and the teacher's given to the next picture each.

    Each is compared with the same other descriptions of the picture.
    """
    references = [list(_describe(one, place)) for place, one in enumerate(said)]
    expected = [one.turn.answer for one in said]
    captions = {
        "model": [one.answer for one in said],
        "teacher": expected,
        "teacher, of another picture": [*expected[1:], *expected[:1]],
    }
    return [_measure(name, some, said, references) for name, some in captions.items()]


def _describe(said: Said, place: int) -> Iterator[str]:
    """Yield what else may be said of a picture; of a user's own, the caption that came with it."""
    for number in range(NUM_REFERENCES):
        rng = np.random.default_rng((_REFERENCE_SEED, place, number))
        match said.course:
            case RoomCaptions():
                yield describe(rng, said.turn.facts)
            case MapCaptions():
                yield draw_one(rng, FORMS).format(**dict(zip("abc", rng.permutation(said.turn.facts), strict=True)))
            case _:
                yield said.turn.answer


def _measure(
    name: str, captions: Sequence[str], said: Sequence[Said], references: Sequence[Sequence[str]]
) -> CaptionRow:
    pairs = list(zip(said, captions, strict=True))
    right = float(np.mean([one.course.judge(one.turn, caption) == 1.0 for one, caption in pairs]))
    shares = [share for one, caption in pairs if (share := one.share_of(caption)) is not None]
    return CaptionRow(name, right, float(np.mean(shares)) if shares else None, score_captions(captions, references))
