from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db1_model.layout import BLOCK_TOKENS, NumberRun, StepLayout
from db1_model.scalars import Edge, decode_actions, decode_values, encode_actions, encode_values
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode
from storage.tokens import TokenEpisode


def encode_episode(
    episode: Episode, layout: StepLayout, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> TokenEpisode:
    """Turn an episode into tokens.

    Raises:
        ValueError: If a number is not finite or out of range, naming task, seed and key.
    """
    try:
        tokens, images = encode_steps(episode.observations, episode.actions, layout, tokenizer, vocabulary)
    except ValueError as error:
        raise ValueError(f"task {episode.task!r}, episode of seed {episode.seed}: {error}") from error
    return TokenEpisode(tokens, images, episode.seed, episode.total_return)


def encode_steps(
    observations: Mapping[str, NDArray[Any]],
    actions: NDArray[Any],
    layout: StepLayout,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Turn all steps of an episode into tokens.

    Args:
        observations: For every key an array of shape (T, *leaf shape), or T strings.
        actions: Of shape (T, *leaf shape), or T strings; a document is one string.
        layout: The task's layout.
        tokenizer: The text tokenizer of the vocabulary.
        vocabulary: Gives the ids.

    Returns:
        Tokens of shape (T, tokens a step), and the images (T, height, width, 3) or None. A document has as many steps
        as it fills blocks.

    Raises:
        ValueError: If a number is not finite, or a discrete one is out of range, naming the key.
    """
    if layout.action_kind == "document":
        tokens = tokenizer.encode_array(str(actions[0]))
        padded = np.zeros((len(tokens) // BLOCK_TOKENS + 1) * BLOCK_TOKENS, np.uint16)
        padded[: len(tokens)] = tokens
        return padded.reshape(-1, BLOCK_TOKENS), None
    observed, images = encode_observations(observations, layout, tokenizer, vocabulary)
    if layout.action_kind == "text":
        chosen = _encode_texts(np.asarray(actions), layout.action_tokens, tokenizer)
    else:
        numbers = np.asarray(actions).reshape(len(observed), layout.action_tokens)
        if layout.action_kind == "discrete":
            chosen = _discrete(numbers, layout.num_actions, "action")
        else:
            chosen = encode_actions(numbers, num_bins=vocabulary.num_bins) + vocabulary.bin_start
    return np.concatenate([observed, chosen.astype(np.uint16)], axis=1), images


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
