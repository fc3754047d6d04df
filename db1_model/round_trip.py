from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db1_model.layout import StepLayout, TextRun
from db1_model.scalars import Edge, decode_actions, decode_values
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode
from storage.tokens import TokenEpisode

ACTION = "action"
_BLOCK = 1 << 16  # numbers that are measured at once


@dataclass(frozen=True)
class Dimension:
    """What tokens make of one number of every step.

    Args:
        key: The observation, or ``action``.
        place: Its index within the observation's shape, such as ``3`` or ``1,2``; empty for a single number.
        scale: ``mu_law``, ``linear`` or ``discrete``.
        lowest: Smallest value before it became a token.
        highest: Largest value.
        mean_error: Mean absolute difference between the value and what its token decodes to.
        largest_error: The largest such difference.
        saturated: Share of the values in the outermost bins, where what lies beyond is cut; 0 when discrete.
        bins_used: Distinct bins, or discrete values, that occur.
    """

    key: str
    place: str
    scale: str
    lowest: float
    highest: float
    mean_error: float
    largest_error: float
    saturated: float
    bins_used: int


class RoundTrip:
    """Measures what is lost when episodes become tokens and come back, number by number, in one pass.

    Args:
        layout: The task's steps.
        tokenizer: The text tokenizer.
        vocabulary: Gives the ids.
        edge: The value that a bin stands for.
    """

    def __init__(
        self, layout: StepLayout, tokenizer: TextTokenizer, vocabulary: Vocabulary, *, edge: Edge = "centre"
    ) -> None:
        self.layout, self.tokenizer, self.vocabulary = layout, tokenizer, vocabulary
        self._numbers: list[_Numbers] = []
        column = layout.text_tokens
        for run in layout.numbers:
            self._numbers.append(_Numbers(run.key, run.shape, run.scale, column, run.num_values, vocabulary, edge))
            column += run.num_tokens
        self._texts = list(layout.texts)
        if layout.action_kind == "text":
            self._texts.append(TextRun(ACTION, layout.action_tokens))
        elif layout.action_kind != "document":
            kind = "linear" if layout.action_kind == "continuous" else "discrete"
            shape = (layout.action_tokens,) if layout.action_tokens > 1 or kind == "linear" else ()
            self._numbers.append(_Numbers(ACTION, shape, kind, column + 1, layout.num_actions, vocabulary, edge))
        self._whole: dict[tuple[str, str], bool] = {}
        self._cut_steps = dict.fromkeys((run.key for run in self._texts), 0)
        self._num_steps = 0

    def encode(self, episode: Episode) -> TokenEpisode:
        """Turn an episode into tokens, and take both into account.

        Raises:
            ValueError: As ``encode_episode`` does.
        """
        encoded = encode_episode(episode, self.layout, self.tokenizer, self.vocabulary)
        self.add(episode, encoded.tokens)
        return encoded

    def add(self, episode: Episode, tokens: NDArray[np.uint16]) -> None:
        """Take an episode and its tokens, shape (T, ``layout.step_tokens``), into account."""
        self._num_steps += len(tokens)
        for numbers in self._numbers:
            values = episode.actions if numbers.key == ACTION else episode.observations[numbers.key]
            numbers.add(np.asarray(values).reshape(len(tokens), -1), tokens)
        for run in self._texts:
            for words in episode.actions if run.key == ACTION else episode.observations[run.key]:
                if (run.key, words) not in self._whole:
                    self._whole[run.key, words] = len(self.tokenizer.encode(str(words))) <= run.num_tokens
                self._cut_steps[run.key] += not self._whole[run.key, words]

    def dimensions(self) -> list[Dimension]:
        """Return every number of a step, in the order of its tokens."""
        return [dimension for numbers in self._numbers for dimension in numbers.dimensions()]

    def cut_texts(self) -> dict[str, float]:
        """Return, for each text, the share of the steps that have too few tokens for it."""
        return {key: steps / max(1, self._num_steps) for key, steps in self._cut_steps.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the measurements, and their largest error and saturation by key, as JSON values."""
        rows = self.dimensions()
        by_key = {key: [row for row in rows if row.key == key] for key in dict.fromkeys(row.key for row in rows)}
        keys = [
            {
                "key": key,
                "scale": some[0].scale,
                "numbers": len(some),
                "mean_error": math.fsum(row.mean_error for row in some) / len(some),
                "largest_error": max(row.largest_error for row in some),
                "saturated": math.fsum(row.saturated for row in some) / len(some),
                "most_saturated": max(row.saturated for row in some),
            }
            for key, some in by_key.items()
        ]
        return {"keys": keys, "dimensions": [asdict(row) for row in rows], "cut_texts": self.cut_texts()}


class _Numbers:
    """The measurements of one observation's numbers, or of the action's."""

    def __init__(
        self,
        key: str,
        shape: tuple[int, ...],
        scale: str,
        column: int,
        num_values: int,
        vocabulary: Vocabulary,
        edge: Edge,
    ) -> None:
        self.key, self._shape, self._scale, self._column = key, shape, scale, column
        self._size = math.prod(shape)
        if scale == "discrete":
            self._first_id, self._decoded = 0, np.arange(num_values)
        else:
            decode = decode_values if scale == "mu_law" else decode_actions
            num_bins = vocabulary.num_bins
            self._first_id = vocabulary.bin_start
            self._decoded = decode(np.arange(num_bins), num_bins=num_bins, edge=edge)
        self._lowest, self._highest = np.full(self._size, np.inf), np.full(self._size, -np.inf)
        self._error_sum, self._largest_error = np.zeros(self._size), np.zeros(self._size)
        self._counts = np.zeros((self._size, len(self._decoded)), np.int64)
        self._num_steps = 0
        self._waiting: list[tuple[NDArray[Any], NDArray[np.uint16]]] = []
        self._num_waiting = 0

    def add(self, values: NDArray[Any], tokens: NDArray[np.uint16]) -> None:
        self._waiting.append((values, tokens[:, self._column : self._column + self._size]))
        self._num_waiting += values.size
        if self._num_waiting >= _BLOCK:
            self._measure()

    def _measure(self) -> None:
        """Measure the episodes that wait, many short ones at once."""
        values = np.concatenate([values for values, _ in self._waiting])
        bins = np.concatenate([tokens for _, tokens in self._waiting]).astype(np.intp)
        bins -= self._first_id
        self._waiting, self._num_waiting = [], 0
        errors = np.abs(self._decoded[bins] - values)
        np.minimum(self._lowest, values.min(axis=0), out=self._lowest)
        np.maximum(self._highest, values.max(axis=0), out=self._highest)
        self._error_sum += errors.sum(axis=0, dtype=np.float64)
        np.maximum(self._largest_error, errors.max(axis=0), out=self._largest_error)
        num_bins = len(self._decoded)
        bins += np.arange(self._size) * num_bins
        self._counts += np.bincount(bins.ravel(), minlength=self._counts.size).reshape(self._counts.shape)
        self._num_steps += len(values)

    def dimensions(self) -> list[Dimension]:
        if self._waiting:
            self._measure()
        if self._num_steps == 0:
            return []
        used = (self._counts > 0).sum(axis=1)
        outermost = self._counts[:, 0] + self._counts[:, -1]
        saturated = np.zeros(self._size) if self._scale == "discrete" else outermost / self._num_steps
        return [
            Dimension(
                key=self.key,
                place=",".join(str(index) for index in place),
                scale=self._scale,
                lowest=float(self._lowest[i]),
                highest=float(self._highest[i]),
                mean_error=float(self._error_sum[i] / self._num_steps),
                largest_error=float(self._largest_error[i]),
                saturated=float(saturated[i]),
                bins_used=int(used[i]),
            )
            for i, place in enumerate(np.ndindex(*self._shape))
        ]
