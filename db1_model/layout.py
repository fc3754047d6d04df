from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from db1_model.vocabulary import Vocabulary
from storage.episode import Leaf, Schema

BLOCK_TOKENS = 16
"""Tokens of a document that are a step."""

ActionKind = Literal["continuous", "discrete", "text", "document"]


@dataclass(frozen=True)
class TextRun:
    """The tokens that a step keeps for one text: longer text is cut, shorter is padded with token 0."""

    key: str
    num_tokens: int


@dataclass(frozen=True)
class ImagePlace:
    """The one image of a step; its patches stand in the sequence but not among the stored tokens."""

    key: str
    height: int
    width: int


@dataclass(frozen=True)
class NumberRun:
    """The tokens of one observation's numbers.

    Args:
        key: The observation.
        shape: Its shape at one step.
        scale: ``mu_law`` for unbounded numbers, ``linear`` for those within [-1, 1], ``discrete`` for whole numbers,
            whose token is the number itself.
        num_values: Values of a discrete number, 0 otherwise.
    """

    key: str
    shape: tuple[int, ...]
    scale: Literal["mu_law", "linear", "discrete"]
    num_values: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of a step."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class StepLayout:
    """What each token of a task's step is; the same at every step of the task.

    A step is: texts (keys sorted), image patches in raster order, numbers (keys sorted), the separator, the action's
    dimensions. The stored tokens leave the patches out. A document is cut into steps of ``BLOCK_TOKENS`` tokens without
    observation and separator.

    Args:
        texts: Text observations.
        image: The image, if there is one.
        numbers: Observations made of numbers.
        action_kind: ``continuous`` (linear bins), ``discrete``, ``text`` or ``document``.
        action_tokens: Tokens of an action; a longer text is cut, a shorter one is padded with token 0.
        num_actions: Values of a discrete action, 0 for the others.
        vocabulary_digest: Digest of the vocabulary that the stored ids belong to.

    Source:
        Wen et al., "On realization of intelligent decision-making in the real world: a foundation decision model
        perspective", 2022, after Reed et al., "A generalist agent", 2022.
    """

    texts: tuple[TextRun, ...]
    image: ImagePlace | None
    numbers: tuple[NumberRun, ...]
    action_kind: ActionKind
    action_tokens: int
    num_actions: int
    vocabulary_digest: str

    @classmethod
    def from_schema(cls, schema: Schema, vocabulary: Vocabulary) -> StepLayout:
        """Lay out the steps of a task.

        A continuous observation that is bounded within [-1, 1] gets linear bins, any other the mu-law.

        Raises:
            ValueError: If a step has two images, or a discrete number has more values than the vocabulary has ids.
        """
        leaves = sorted(schema.observations.items())
        images = [(key, leaf) for key, leaf in leaves if leaf.kind == "image"]
        if len(images) > 1:
            raise ValueError(f"a step has the images {', '.join(key for key, _ in images)}; expected at most one")
        for key, leaf in [*leaves, ("action", schema.action)]:
            if leaf.kind == "discrete" and leaf.num_values > vocabulary.num_discrete:
                raise ValueError(f"{key!r} has {leaf.num_values} values; expected at most {vocabulary.num_discrete}")
        return cls(
            texts=tuple(TextRun(key, leaf.num_tokens) for key, leaf in leaves if leaf.kind == "text"),
            image=ImagePlace(images[0][0], *images[0][1].shape[:2]) if images else None,
            numbers=tuple(_number_run(key, leaf) for key, leaf in leaves if leaf.kind in ("continuous", "discrete")),
            action_kind=_action_kind(schema.action),
            action_tokens=_count_action_tokens(schema.action),
            num_actions=schema.action.num_values,
            vocabulary_digest=vocabulary.digest,
        )

    @property
    def text_tokens(self) -> int:
        """Text tokens of a step; they come first."""
        return sum(run.num_tokens for run in self.texts)

    @property
    def number_tokens(self) -> int:
        """Number tokens of a step; they follow the text tokens and the patches."""
        return sum(run.num_tokens for run in self.numbers)

    @property
    def observation_tokens(self) -> int:
        """Stored tokens of an observation, without the separator."""
        return self.text_tokens + self.number_tokens

    @property
    def step_tokens(self) -> int:
        """Stored tokens of a step: observation, separator, action."""
        return self.observation_tokens + self.separator_tokens + self.action_tokens

    @property
    def separator_tokens(self) -> int:
        """Separators of a step: one, and none in a document."""
        return int(self.action_kind != "document")

    def to_json(self) -> dict[str, Any]:
        """Return the layout as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StepLayout:
        """Read what ``to_json`` returned, or what came of it in JSON."""
        numbers = [NumberRun(**(run | {"shape": tuple(run["shape"])})) for run in value["numbers"]]
        return cls(
            **dict(value)
            | {
                "texts": tuple(TextRun(**run) for run in value["texts"]),
                "image": ImagePlace(**value["image"]) if value["image"] else None,
                "numbers": tuple(numbers),
            }
        )


def _action_kind(action: Leaf) -> ActionKind:
    if action.is_document:
        return "document"
    return action.kind if action.kind in ("discrete", "text") else "continuous"


def _count_action_tokens(action: Leaf) -> int:
    if action.kind == "text":
        return action.num_tokens or BLOCK_TOKENS
    return math.prod(action.shape)


def _number_run(key: str, leaf: Leaf) -> NumberRun:
    if leaf.kind == "discrete":
        return NumberRun(key, leaf.shape, "discrete", leaf.num_values)
    bounded = leaf.low >= -1.0 and leaf.high <= 1.0
    return NumberRun(key, leaf.shape, "linear" if bounded else "mu_law")
