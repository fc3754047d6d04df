from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from db1_model.scalars import Edge, decode_actions, decode_values, encode_actions, encode_values
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema
from storage.tokens import TokenEpisode

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


def encode_episode(
    episode: Episode, layout: StepLayout, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> TokenEpisode:
    """Turn an episode into tokens.

    Raises:
        ValueError: If a number is not finite or out of range, naming task, seed and key.
    """
    if layout.action_kind == "document":
        tokens = [*tokenizer.encode(str(episode.actions[0])), 0]
        padded = np.zeros(-(-len(tokens) // BLOCK_TOKENS) * BLOCK_TOKENS, np.uint16)
        padded[: len(tokens)] = tokens
        return TokenEpisode(padded.reshape(-1, BLOCK_TOKENS), None, episode.seed, episode.total_return)
    try:
        observed, images = encode_observations(episode.observations, layout, tokenizer, vocabulary)
        actions = np.asarray(episode.actions)
        if layout.action_kind == "text":
            chosen = _encode_texts(actions, layout.action_tokens, tokenizer)
        elif layout.action_kind == "discrete":
            chosen = _discrete(actions.reshape(len(episode), layout.action_tokens), layout.num_actions, "action")
        else:
            numbers = actions.reshape(len(episode), layout.action_tokens)
            chosen = encode_actions(numbers, num_bins=vocabulary.num_bins) + vocabulary.bin_start
    except ValueError as error:
        raise ValueError(f"task {episode.task!r}, episode of seed {episode.seed}: {error}") from error
    return TokenEpisode(
        tokens=np.concatenate([observed, chosen.astype(np.uint16)], axis=1),
        images=images,
        seed=episode.seed,
        total_return=episode.total_return,
    )


def encode_observations(
    observations: Mapping[str, NDArray[Any]], layout: StepLayout, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Turn observations into tokens, up to and with the separator.

    Args:
        observations: For every key N observations: arrays of shape (N, *leaf shape), or N strings.
        layout: The task's layout.
        tokenizer: The text tokenizer of the vocabulary.
        vocabulary: Gives the ids.

    Returns:
        Tokens of shape (N, ``layout.observation_tokens`` + 1), and the images (N, height, width, 3) or None.

    Raises:
        ValueError: If a number is not finite, or a discrete one is out of range, naming the key.
    """
    num_steps = len(next(iter(observations.values())))
    tokens = np.zeros((num_steps, layout.observation_tokens + 1), np.uint16)
    column = 0
    for text in layout.texts:
        run = _encode_texts(observations[text.key], text.num_tokens, tokenizer)
        tokens[:, column : column + text.num_tokens] = run
        column += text.num_tokens
    for run in layout.numbers:
        values = np.asarray(observations[run.key]).reshape(num_steps, run.num_tokens)
        tokens[:, column : column + run.num_tokens] = _encode_numbers(values, run, vocabulary)
        column += run.num_tokens
    tokens[:, column] = vocabulary.separator
    images = None if layout.image is None else np.asarray(observations[layout.image.key], np.uint8)
    return tokens, images


def decode_observations(
    tokens: NDArray[np.integer],
    layout: StepLayout,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    edge: Edge = "centre",
) -> dict[str, NDArray[Any]]:
    """Turn stored tokens back into observations; images are not among the tokens.

    Args:
        tokens: Shape (N, at least ``layout.observation_tokens``).
        layout: The task's layout.
        tokenizer: The text tokenizer of the vocabulary.
        vocabulary: Gives the ids.
        edge: The value that a bin stands for.
    """
    observations: dict[str, NDArray[Any]] = {}
    column = 0
    for text in layout.texts:
        observations[text.key] = _decode_texts(tokens[:, column : column + text.num_tokens], tokenizer)
        column += text.num_tokens
    for run in layout.numbers:
        rows = tokens[:, column : column + run.num_tokens].astype(np.int64).reshape(-1, *run.shape)
        column += run.num_tokens
        if run.scale == "discrete":
            observations[run.key] = rows
        else:
            decode = decode_values if run.scale == "mu_law" else decode_actions
            observations[run.key] = decode(rows - vocabulary.bin_start, num_bins=vocabulary.num_bins, edge=edge)
    return observations


def decode_action_tokens(
    tokens: NDArray[np.integer],
    layout: StepLayout,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    edge: Edge = "centre",
) -> NDArray[Any]:
    """Turn action tokens back into actions.

    Args:
        tokens: Shape (N, ``layout.action_tokens``).
        layout: The task's layout.
        tokenizer: The text tokenizer of the vocabulary.
        vocabulary: Gives the ids.
        edge: The value that a bin stands for.

    Returns:
        int64 of shape (N,) for a discrete action, float32 of shape (N, dimensions) for a continuous one, N strings for
        text, each up to its first token 0, one string for a document.
    """
    tokens = np.asarray(tokens, np.int64)
    if layout.action_kind == "document":
        return _decode_texts(tokens.reshape(1, -1), tokenizer)
    if layout.action_kind == "text":
        return _decode_texts(tokens, tokenizer)
    if layout.action_kind == "discrete":
        return tokens[:, 0] if layout.action_tokens == 1 else tokens
    return decode_actions(tokens - vocabulary.bin_start, num_bins=vocabulary.num_bins, edge=edge)


def _action_kind(action: Leaf) -> ActionKind:
    if action.kind == "text":
        return "text" if action.num_tokens else "document"
    return "discrete" if action.kind == "discrete" else "continuous"


def _count_action_tokens(action: Leaf) -> int:
    if action.kind == "text":
        return action.num_tokens or BLOCK_TOKENS
    return math.prod(action.shape)


def _encode_texts(texts: Iterable[str], num_tokens: int, tokenizer: TextTokenizer) -> NDArray[np.int64]:
    """Return the tokens of texts, shape (texts, ``num_tokens``)."""
    ids: dict[str, list[int]] = {}
    words = [str(text) for text in texts]
    tokens = np.zeros((len(words), num_tokens), np.int64)
    for row, text in enumerate(words):
        if text not in ids:
            ids[text] = tokenizer.encode(text)[:num_tokens]
        tokens[row, : len(ids[text])] = ids[text]
    return tokens


def _decode_texts(tokens: NDArray[np.integer], tokenizer: TextTokenizer) -> NDArray[np.object_]:
    """Return the texts of rows of tokens, each up to its first token 0."""
    ends = [int(np.argmax(row == 0)) if (row == 0).any() else len(row) for row in tokens]
    return np.array([tokenizer.decode(row[:end].tolist()) for row, end in zip(tokens, ends, strict=True)], object)


def _number_run(key: str, leaf: Leaf) -> NumberRun:
    if leaf.kind == "discrete":
        return NumberRun(key, leaf.shape, "discrete", leaf.num_values)
    bounded = leaf.low >= -1.0 and leaf.high <= 1.0
    return NumberRun(key, leaf.shape, "linear" if bounded else "mu_law")


def _encode_numbers(values: NDArray[Any], run: NumberRun, vocabulary: Vocabulary) -> NDArray[np.int32]:
    if run.scale == "discrete":
        return _discrete(values, run.num_values, run.key)
    encode = encode_values if run.scale == "mu_law" else encode_actions
    try:
        return encode(values, num_bins=vocabulary.num_bins) + vocabulary.bin_start
    except ValueError as error:
        raise ValueError(f"observation {run.key!r}: {error}") from error


def _discrete(values: NDArray[Any], num_values: int, key: str) -> NDArray[Any]:
    if values.size and (values.min() < 0 or values.max() >= num_values):
        raise ValueError(f"{key!r} has values {values.min()}..{values.max()}; expected 0..{num_values - 1}")
    return values
