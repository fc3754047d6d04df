from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from db1_model.layout import StepLayout
from db1_model.round_trip import ACTION
from db1_model.scalars import Edge
from db1_model.sequence import decode_action_tokens, decode_observations
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode
from storage.tokens import TokenEpisode


@dataclass(frozen=True)
class InspectedToken:
    """A token of a step: where it stands, what it came from and what it decodes to.

    Args:
        column: Its place among the step's stored tokens; None for an image's patches, which are not stored as tokens.
        key: The observation, ``action``, or ``separator``.
        place: Which number of the key, such as ``3`` or ``1,2``; for a text, which word piece.
        scale: ``text``, ``patches``, ``mu_law``, ``linear``, ``discrete`` or ``separator``.
        token: Its id.
        bin: The bin of a continuous number.
        decoded: What the token decodes to: a number, or a piece of text.
        original: The number that was encoded; at a text's first piece, the whole text.
        error: The size of their difference, for numbers.
    """

    column: int | None
    key: str
    place: str
    scale: str
    token: int | None = None
    bin: int | None = None
    decoded: float | str | None = None
    original: float | str | None = None
    error: float | None = None


def inspect_step(
    episode: Episode,
    stored: TokenEpisode,
    step: int,
    layout: StepLayout,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    *,
    patch_size: int,
    edge: Edge = "centre",
) -> list[InspectedToken]:
    """Return the tokens of a step beside what they stand for, in the order of a sequence.

    Args:
        episode: The episode before it was encoded.
        stored: Its stored tokens.
        step: Which of its steps, from 0.
        layout: The task's steps.
        tokenizer: The text tokenizer.
        vocabulary: Gives the ids.
        patch_size: Side of an image patch in pixels.
        edge: The value that a bin stands for.

    Raises:
        IndexError: If the episode has no such step.
    """
    if not 0 <= step < len(stored):
        raise IndexError(f"step {step} of an episode of {len(stored)} steps; expected 0..{len(stored) - 1}")
    row = stored.tokens[step : step + 1]
    if layout.action_kind == "document":
        words = tokenizer.decode(row[0][row[0] != 0].tolist())
        return _texts(ACTION, 0, row[0], words, tokenizer)
    decoded = decode_observations(row, layout, tokenizer, vocabulary, edge=edge)
    found: list[InspectedToken] = []
    for text in layout.texts:
        run, words = row[0, len(found) : len(found) + text.num_tokens], str(episode.observations[text.key][step])
        found += _texts(text.key, len(found), run, words, tokenizer)
    column = len(found)
    if (image := layout.image) is not None:
        grid = f"{image.height // patch_size} x {image.width // patch_size} patches of {patch_size} x {patch_size}"
        pixels = f"{image.height} x {image.width} pixels"
        found.append(InspectedToken(None, image.key, "", "patches", decoded=grid, original=pixels))
    for run in layout.numbers:
        values = np.asarray(episode.observations[run.key][step])
        found += _numbers(run.key, run.scale, run.shape, column, row[0], decoded[run.key][0], values, vocabulary)
        column += run.num_tokens
    found.append(InspectedToken(column, "separator", "", "separator", int(row[0, column])))
    if layout.action_kind == "text":
        return found + _texts(ACTION, column + 1, row[0, column + 1 :], str(episode.actions[step]), tokenizer)
    action = np.asarray(episode.actions[step])
    back = np.asarray(decode_action_tokens(row[:, column + 1 :], layout, tokenizer, vocabulary, edge=edge)[0])
    scale = "linear" if layout.action_kind == "continuous" else "discrete"
    return found + _numbers(ACTION, scale, action.shape, column + 1, row[0], back, action, vocabulary)


def _texts(key: str, column: int, run: np.ndarray, words: str, tokenizer: TextTokenizer) -> list[InspectedToken]:
    found = []
    for piece, token in enumerate(run.tolist()):
        spelt = tokenizer.decode([token]) if token else None
        first = words if piece == 0 else None
        found.append(InspectedToken(column + piece, key, str(piece), "text", token, None, spelt, first))
    return found


def _numbers(
    key: str,
    scale: str,
    shape: tuple[int, ...],
    column: int,
    tokens: np.ndarray,
    decoded: Any,
    values: np.ndarray,
    vocabulary: Vocabulary,
) -> list[InspectedToken]:
    found = []
    for i, place in enumerate(np.ndindex(*shape)):
        token, back, value = int(tokens[column + i]), float(decoded[place]), float(values[place])
        bin_ = None if scale == "discrete" else token - vocabulary.bin_start
        name = ",".join(str(index) for index in place)
        found.append(InspectedToken(column + i, key, name, scale, token, bin_, back, value, abs(back - value)))
    return found
