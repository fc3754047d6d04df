from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from tasks.corpora.environment import LessonEnvironment
from tasks.task import Observation, unwrap

_ANOTHER = 500_009
"""How far the seed of a shuffled answer's lesson is away."""


class Teacher:
    """Gives the answers that the lessons come with."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Take the environment of a new lesson.

        Raises:
            ValueError: If the environment is not one of lessons.
        """
        self._environment = unwrap(environment, LessonEnvironment)

    def act(self, observation: Observation) -> str:
        """Return the answer of the present turn."""
        return self._environment.turn.answer

    def provenance(self) -> Mapping[str, Any]:
        """Say that the answers are true."""
        return {"answers": "true"}


class Shuffled(Teacher):
    """Gives the answers of another lesson of the course: what is right by chance."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Draw the other lesson."""
        super().reset(environment)
        self._answers = [turn.answer for turn in self._environment.course.draw(self._environment.seed + _ANOTHER)]
        self._given = 0

    def act(self, observation: Observation) -> str:
        """Return the answer at the same place of the other lesson."""
        self._given += 1
        return self._answers[(self._given - 1) % len(self._answers)]

    def provenance(self) -> Mapping[str, Any]:
        """Say where the answers are from."""
        return {"answers": "of another lesson"}
