from __future__ import annotations

from functools import partial

import gymnasium

from tasks.corpora.lesson import Course, Turn
from tasks.task import Expert, Task


def describe_course(
    task_id: str,
    course: Course,
    description: str,
    *,
    licence: str,
    answer_tokens: int,
    text_tokens: int = 0,
    num_episodes: int = 2000,
) -> Task:
    """Return the task of a course: its expert gives the true answers, its floor those of another lesson."""
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, course),
        make_expert=partial(_make_expert, "teacher"),
        expert_route="script",
        num_episodes=num_episodes,
        description=description,
        licence=licence,
        code_version="3",
        baselines={"shuffled": partial(_make_expert, "shuffled")},
        floor="shuffled",
        text_tokens=text_tokens,
        answer_tokens=answer_tokens,
    )


def is_same(turn: Turn, answer: str) -> float:
    """Judge an answer right if it is the expected one, whatever its case, spaces and full stop."""
    return float(_plain(answer) == _plain(turn.answer))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


def _make_environment(course: Course) -> gymnasium.Env:
    from tasks.corpora.environment import LessonEnvironment

    return LessonEnvironment(course)


def _make_expert(name: str) -> Expert:
    from tasks.corpora.expert import Shuffled, Teacher

    return Shuffled() if name == "shuffled" else Teacher()
