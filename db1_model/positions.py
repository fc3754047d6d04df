from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db1_model.config import ModelConfig
from db1_model.layout import StepLayout

PATCH = -1
"""Token of a position that holds an image patch."""
NUMBERS = -2
"""Token of a position that holds a run of embedded numbers."""


@dataclass(frozen=True)
class TokenSequence:
    """One sequence to train on; L is the context length.

    Args:
        tokens: int32 of shape (L,); -1 is an image patch, -2 a run of numbers, padding is 0.
        positions: Local position of each token within its step, int32 of shape (L,): 1..n in the observation, n + 1 at
            the separator, 0 in actions and padding, -1 for none in a document.
        loss_mask: Whether the label is an action's token that counts in the loss, bool of shape (L,).
        labels: The next token, int64 of shape (L,).
        numbers: Token ids of the runs, padded with -1, int64 of shape (runs, ``numbers_per_position``).
        patches: Pixels, uint8 of shape (patches, 3, size, size).
        patch_rows: Interval ``[low, high)`` of each patch's row position, int64 of shape (patches, 2).
        patch_columns: The same for its column position.
        num_tokens: Tokens before the padding begins.
    """

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    loss_mask: NDArray[np.bool_]
    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]
    patches: NDArray[np.uint8]
    patch_rows: NDArray[np.int64]
    patch_columns: NDArray[np.int64]
    num_tokens: int


PlacedPatches = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]
"""Pixels (patches, 3, size, size), row intervals (patches, 2) and column intervals (patches, 2)."""


class StepPositions:
    """Which positions of a model the steps of a task take, and what stands there.

    In the ``tokens`` encoding every stored token has a position; in the ``embedded`` one the numbers of an observation
    share positions, ``numbers_per_position`` each, and the last of these stands in the separator's place, so that the
    action is predicted from it. An image takes a position a patch in both.

    Args:
        layout: The task's steps.
        config: ``context_length``, ``encoding``, ``numbers_per_position``, ``patch_size``, ``position_vocab`` and
            ``local_positions`` are read.

    Raises:
        ValueError: If a step does not fit into the context or into the table of local positions, or the image is no
            multiple of the patch size.
    """

    def __init__(self, layout: StepLayout, config: ModelConfig) -> None:
        self.layout = layout
        self.context_length = config.context_length
        self.patch_size = config.patch_size
        self.numbers_per_position = config.numbers_per_position
        self.embedded = config.encoding == "embedded"
        self._patch_rows, self._patch_columns = _patch_intervals(layout, config)
        self.num_patches = len(self._patch_rows)
        self.num_runs = -(-layout.number_tokens // config.numbers_per_position) if self.embedded else 0
        self._num_text, self._num_numbers = layout.text_tokens, layout.number_tokens
        self._first_number = self._num_text + self.num_patches
        self._joined = int(self.num_runs > 0)
        number_positions = self.num_runs if self.embedded else self._num_numbers
        self.num_observation = self._first_number + number_positions - self._joined
        before_action = self.num_observation + layout.separator_tokens
        self.num_positions = before_action + layout.action_tokens
        if self.num_positions > config.context_length:
            raise ValueError(
                f"a step takes {self.num_positions} positions ({self.num_observation} observed, separator, "
                f"{layout.action_tokens} of action) of a context of {config.context_length}; choose a preset with a "
                "longer context"
            )
        if self.num_observation + 1 >= config.local_positions:
            raise ValueError(
                f"an observation takes {self.num_observation} positions; expected at most {config.local_positions - 2}"
            )
        self.transitions = -(-config.context_length // self.num_positions)
        local = np.zeros(self.num_positions, np.int64)
        local[:before_action] = np.arange(1, before_action + 1)
        if layout.action_kind == "document":
            local[:] = -1
        is_action = np.arange(self.num_positions) >= before_action
        self.local_positions = local
        self._full_positions = np.resize(local, config.context_length).astype(np.int32)
        self._loss_mask = np.resize(is_action, config.context_length + 1)[1:]
        numbers = [NUMBERS] * self.num_runs if self.embedded else []
        after = self._num_text + (self._num_numbers + self._joined if self.embedded else 0)
        columns = [*range(self._num_text), *[PATCH] * self.num_patches, *numbers, *range(after, layout.step_tokens)]
        self._sources = np.array(columns, np.int32)
        missing = np.zeros(self.num_positions, np.int32)
        missing[: self.num_observation] = 0 if layout.image is None else PATCH
        self._padding = np.resize(missing, config.context_length + 1)

    @property
    def has_more(self) -> bool:
        """Whether a sequence holds patches or runs of numbers, see ``place_more``."""
        return self.num_patches + self.num_runs > 0

    @property
    def steps_before(self) -> int:
        """Most whole steps that come before a whole step of a sequence."""
        return self.whole_steps - 1

    @property
    def whole_steps(self) -> int:
        """Whole steps that a sequence holds, which fill a context as a prompt."""
        return self.context_length // self.num_positions

    @property
    def prompt_transitions(self) -> int:
        """Most transitions of a training prompt: half of a window."""
        return self.transitions // 2

    def place_tokens(self, rows: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Return the tokens at the positions of steps.

        Args:
            rows: Stored tokens, a step a row: shape (N, ``layout.step_tokens``), or (N, ``layout.observation_tokens``
                + 1) when the actions are not known yet.

        Returns:
            int64 of shape (N, ``num_positions``), or (N, ``num_observation`` + 1) without actions.
        """
        count = self.num_observation + rows.shape[1] - self._num_text - self._num_numbers
        sources = self._sources[:count]
        placed = rows[:, np.maximum(sources, 0)].astype(np.int64)
        placed[:, sources < 0] = sources[sources < 0]
        return placed

    def place_numbers(self, rows: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Return the runs of embedded numbers of steps, int64 of shape (N * ``num_runs``, numbers a position)."""
        runs = np.full((len(rows), self.num_runs * self.numbers_per_position), -1, np.int64)
        if self.num_runs:
            runs[:, : self._num_numbers] = rows[:, self._num_text : self._num_text + self._num_numbers]
        return runs.reshape(-1, self.numbers_per_position)

    def place_patches(self, images: NDArray[np.uint8] | None, num_patches: int | None = None) -> PlacedPatches:
        """Cut the images of steps into patches, row by row.

        Args:
            images: Shape (N, height, width, 3), or None.
            num_patches: How many of the patches to return; all by default.
        """
        size = self.patch_size
        if images is None:
            return np.empty((0, 3, size, size), np.uint8), self._patch_rows[:0], self._patch_columns[:0]
        count, height, width, _ = images.shape
        cut = images.reshape(count, height // size, size, width // size, size, 3).transpose(0, 1, 3, 5, 2, 4)
        rows, columns = np.tile(self._patch_rows, (count, 1)), np.tile(self._patch_columns, (count, 1))
        return cut.reshape(-1, 3, size, size)[:num_patches], rows[:num_patches], columns[:num_patches]

    def build_sequence(
        self, rows: NDArray[np.uint16], images: NDArray[np.uint8] | None = None, *, prompt: int = 0
    ) -> TokenSequence:
        """Build a training sequence from steps, in the order in which they are to stand.

        What does not fit into L + 1 tokens is cut, even within a step. What is missing is padded with token 0, position
        0, and no loss; where a missing step of a task with images would have its observation, DB1 pads with token -1,
        and so does this, with black patches.

        Args:
            rows: Stored tokens of the steps, shape (N, ``layout.step_tokens``).
            images: Their images, shape (N, height, width, 3), or None.
            prompt: The first steps that are a prompt; their actions are not in the loss.
        """
        length = self.context_length
        tokens, positions = np.empty((1, length), np.int32), np.empty((1, length), np.int32)
        loss_mask, labels = np.empty((1, length), np.bool_), np.empty((1, length), np.int64)
        place = np.zeros(1, np.int64)
        self.place_sequences(rows[None], place + len(rows), place + prompt, place, tokens, positions, loss_mask, labels)
        more = self.place_more(rows, images)
        num_tokens = min(len(rows) * self.num_positions, length)
        return TokenSequence(tokens[0], positions[0], loss_mask[0], labels[0], *more, num_tokens=num_tokens)

    def place_sequences(
        self,
        steps: NDArray[np.uint16],
        counts: NDArray[np.int64],
        prompts: NDArray[np.int64],
        rows: NDArray[np.int64],
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        loss_mask: NDArray[np.bool_],
        labels: NDArray[np.int64],
    ) -> None:
        """Fill in rows of a batch, as ``build_sequence`` does for one; see ``db1_model.placing.place_sequences``."""
        from db1_model.placing import place_sequences  # Dagster loads this file, and not numba

        full = self._sources, self._full_positions, self._loss_mask, self._padding
        place_sequences(steps, counts, prompts, rows, *full, tokens, positions, loss_mask, labels)
        if self.layout.action_kind in ("text", "document"):  # its end is trained, and not the padding behind it
            loss_mask[rows] &= (tokens[rows] != 0) | (labels[rows] != 0)

    def place_more(
        self, rows: NDArray[np.uint16], images: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Return the runs of numbers of a sequence, and its patches with their rows and columns.

        Args:
            rows: As in ``build_sequence``.
            images: See there.
        """
        length = self.context_length
        end = len(rows) * self.num_positions
        seen = min(end, length)
        if images is not None:
            num_patches = self._count_before(seen, self._num_text, self.num_patches)
            patches = self.place_patches(images[: length // self.num_positions + 1], num_patches)
            if end < length:
                patches = _add_black(patches, int((self._padding[end:length] == PATCH).sum()))
        else:
            patches = self.place_patches(None)
        runs = self._count_before(seen, self._first_number, self.num_runs)
        return self.place_numbers(rows)[:runs], *patches

    def _count_before(self, end: int, first: int, count: int) -> int:
        """How many of the places ``first..first + count - 1`` of every step come before a position."""
        steps, rest = divmod(end, self.num_positions)
        return steps * count + min(max(rest - first, 0), count)


def _patch_intervals(layout: StepLayout, config: ModelConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if layout.image is None:
        return np.empty((0, 2), np.int64), np.empty((0, 2), np.int64)
    height, width, size = layout.image.height, layout.image.width, config.patch_size
    if height % size or width % size:
        raise ValueError(f"an image of {height} x {width} pixels; expected multiples of the patch size, {size}")
    num_rows, num_columns = height // size, width // size
    row = np.repeat(np.arange(num_rows), num_columns)
    column = np.tile(np.arange(num_columns), num_rows)
    return cut_interval(num_rows, config.position_vocab)[row], cut_interval(num_columns, config.position_vocab)[column]


def cut_interval(parts: int, vocab: int) -> NDArray[np.int64]:
    """Cut the positions of a row or column of patches: ``[low, high)`` of each patch, shape (parts, 2).

    Computed in float32 as DB1 does, where a product may end just below a whole number.

    Args:
        parts: Patches.
        vocab: Positions.
    """
    edges = np.arange(parts + 1, dtype=np.float32) / np.float32(parts) * np.float32(vocab)
    return np.stack([edges[:-1], edges[1:]], axis=1).astype(np.int64)


def _add_black(patches: PlacedPatches, count: int) -> PlacedPatches:
    pixels, rows, columns = patches
    none = np.zeros((count, 2), np.int64)
    return (
        np.concatenate([pixels, np.zeros((count, *pixels.shape[1:]), np.uint8)]),
        np.concatenate([rows, none]),
        np.concatenate([columns, none]),
    )
