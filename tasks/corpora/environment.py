from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tasks.corpora.any_text import AnyText
from tasks.corpora.lesson import Course, Turn

LONGEST_TEXT = 10_000_000
"""Most characters of a question or an answer."""


class LessonEnvironment(gymnasium.Env):
    """Answer in words, turn by turn.

    Observation:
        ``image``: what is shown, uint8 of shape (height, width, 3), in courses that show something.
        ``question``: what is asked, in courses that ask.

    Action:
        The answer, a text.

    Reward:
        How right the answer is, from 0 to 1, over the number of turns; so a lesson's return is at most 1.

    End:
        Terminated after the last turn. The last ``info["summary"]`` has ``answers``, the ``expected`` ones and the
        ``scores`` of all turns.

    Args:
        course: Where the lessons come from.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, course: Course) -> None:
        self.course = course
        seen: dict[str, spaces.Space] = {}
        if course.image_shape is not None:
            seen["image"] = spaces.Box(0, 255, course.image_shape, np.uint8)
        if course.asks:
            seen["question"] = AnyText(LONGEST_TEXT)
        self.observation_space = spaces.Dict(seen)
        self.action_space = AnyText(LONGEST_TEXT)
        self.turns: Sequence[Turn] = ()
        self.seed = 0

    @property
    def turn(self) -> Turn:
        """The present turn."""
        return self.turns[min(len(self._answers), len(self.turns) - 1)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the lesson of a seed.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("a lesson is drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.seed, self.turns = seed, self.course.draw(seed)
        self._answers: list[str] = []
        self._scores: list[float] = []
        return self._observe(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Give an answer."""
        score = self.course.judge(self.turn, str(action))
        self._answers.append(str(action))
        self._scores.append(score)
        done = len(self._answers) == len(self.turns)
        info: dict[str, Any] = {}
        if done:
            expected = [turn.answer for turn in self.turns]
            info["summary"] = {"answers": self._answers, "expected": expected, "scores": self._scores}
        return self._observe(), score / len(self.turns), done, False, info

    def _observe(self) -> dict[str, Any]:
        turn = self.turn
        shown = {} if self.course.image_shape is None else {"image": turn.image}
        return shown | ({"question": turn.question} if self.course.asks else {})
