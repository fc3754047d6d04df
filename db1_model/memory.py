from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from db1_model.config import ModelConfig
from db1_model.query_blocks import shift_distances

KEY_MULTIPLE = 64
"""Remembered keys are attended to in multiples of this number, hidden ones among them."""


class Memory:
    """Keys and values of the latest positions of many episodes, so that each position is computed once.

    Every episode has a slot. The episodes of a step advance together along one axis of columns, so that a key's
    distance from a query is the difference of their columns whenever its episode began. A query sees its own key and
    the ``memory_length - 1`` before it; with ``memory="masked"`` those before its episode's first are hidden, with
    ``"zeros"`` they are what hidden states of zero give, as in DB1.

    Args:
        config: The model's.
        relative_keys: A layer's keys of the distances ``num_distances(config) - 1``, ..., 0, -1, for every layer: shape
            (heads, distances + 1, d).
        zero_keys: A layer's key and value of a hidden state of zero, for every layer: shape (2, heads, d).
        num_slots: Number of episodes.
    """

    def __init__(
        self, config: ModelConfig, relative_keys: Sequence[Tensor], zero_keys: Sequence[Tensor], *, num_slots: int
    ) -> None:
        self.length = config.memory_length
        self.num_slots = num_slots
        self.longest_step = longest_step(config)
        self._zeros = config.memory == "zeros"
        self._relative_keys = relative_keys
        self._zero_keys = torch.stack(list(zero_keys), 1)  # (2, layers, heads, d)
        _, layers, heads, d = self._zero_keys.shape
        columns = self.length + self.longest_step
        # keys and values: (2, layers, rows, heads, columns, d)
        self._columns = self._zero_keys.new_zeros(2, layers, num_slots, heads, columns, d)
        self._end = self.length
        self._slots = list(range(num_slots))  # of each row
        self._first = [self._end] * num_slots  # each row's first visible column
        self._behind = [0] * num_slots  # columns that passed since the row was last in a step
        self.reset(self._slots)

    @torch.inference_mode()
    def reset(self, slots: Sequence[int], prompt: Memory | None = None) -> None:
        """Begin a new episode in some slots.

        Args:
            slots: The slots.
            prompt: A memory with one slot; the new episodes remember what it does.
        """
        for row in self._rows(slots):
            self._behind[row] = 0
            self._first[row] = self._end
            if self._zeros:
                self._first[row] -= self.length
                self._columns[:, :, row, :, self._first[row] : self._end] = self._zero_keys[:, :, :, None]
            if prompt is not None:
                remembered = min(self.length, prompt._end - prompt._first[0])
                self._first[row] = min(self._first[row], self._end - remembered)
                columns = prompt._columns[:, :, 0, :, prompt._end - remembered : prompt._end]
                self._columns[:, :, row, :, self._end - remembered : self._end] = columns

    @torch.inference_mode()
    def select(self, slots: Sequence[int]) -> None:
        """Choose the episodes of the coming steps; row i of a step's tokens belongs to ``slots[i]``.

        Raises:
            ValueError: If a slot is given twice or does not exist.
        """
        if len(set(slots)) != len(slots) or not set(slots) <= set(range(self.num_slots)):
            raise ValueError(f"slots {list(slots)}; expected different ones of 0..{self.num_slots - 1}")
        order = self._rows(slots)
        if order != list(range(len(order))):
            order += sorted(set(range(self.num_slots)) - set(order))
            self._columns = self._columns[:, :, order]
            self._slots, self._first, self._behind = (
                [values[row] for row in order] for values in (self._slots, self._first, self._behind)
            )
        for row in range(len(slots)):
            self._catch_up(row)

    def skip(self, rows: Sequence[int]) -> None:
        """Hide the next column of some rows whose episodes have not begun yet; only its own position sees it."""
        for row in rows:
            self._first[row] = self._end + 1

    def begin_step(self, num_rows: int, num_columns: int) -> Step:
        """Make room for the next columns of the first rows.

        Raises:
            ValueError: If the step is longer than ``longest_step``.
        """
        if num_columns > self.longest_step:
            raise ValueError(f"a step of {num_columns} positions; expected at most {self.longest_step}")
        if self._end + num_columns > self._columns.shape[-2]:
            self._move_left()
        begin, self._end = self._end, self._end + num_columns
        for row in range(num_rows, self.num_slots):
            self._behind[row] += num_columns
        seen = min(begin - min(self._first[:num_rows]), self.length - 1)
        first = begin - min(-(-seen // KEY_MULTIPLE) * KEY_MULTIPLE, self.length - 1)
        return Step(
            self._columns[:, :, :num_rows, :, first : self._end],
            self._relative_keys,
            _hide(self._first[:num_rows], first, begin, self._end, self.length, self._columns.device),
        )

    def _rows(self, slots: Sequence[int]) -> list[int]:
        row_of = {slot: row for row, slot in enumerate(self._slots)}
        return [row_of[slot] for slot in slots]

    def _catch_up(self, row: int) -> None:
        """Move a row's columns to the end, after others have advanced without it."""
        behind, self._behind[row] = self._behind[row], 0
        if behind:
            first = max(self._first[row], self._end - behind - self.length, 0)
            columns = self._columns[:, :, row, :, first : self._end - behind].clone()
            self._first[row] += behind
            self._columns[:, :, row, :, self._end - columns.shape[-2] : self._end] = columns

    def _move_left(self) -> None:
        for row in range(self.num_slots):
            self._catch_up(row)
        moved = self._end - self.length
        self._columns[..., : self.length, :] = self._columns[..., moved : self._end, :].clone()
        self._end = self.length
        self._first = [max(first - moved, 0) for first in self._first]


class Step:
    """What the layers of one step attend to.

    Args:
        columns: Keys and values, shape (2, layers, rows, heads, keys, d); a view of the memory.
        relative_keys: As in ``Memory``.
        hidden: Minus infinity where a key is hidden from a query, shape (rows, 1, queries, keys); None where none is.
    """

    def __init__(self, columns: Tensor, relative_keys: Sequence[Tensor], hidden: Tensor | None) -> None:
        self._columns = columns
        self._relative_keys = relative_keys
        self._hidden = hidden

    def attend(self, layer: int, query_key_value: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
        """Remember the step's keys and values in a layer and return its attention, shape (rows, queries, heads * d).

        Args:
            layer: The layer.
            query_key_value: Shape (rows, queries, 3, heads, d).
            content_bias: Shape (heads, d).
            position_bias: Shape (heads, d).
        """
        rows, queries, _, heads, d = query_key_value.shape
        keys, values = self._columns[:, layer]  # (rows, heads, keys, d)
        num_keys = keys.shape[-2]
        q, k, v = query_key_value.permute(2, 0, 3, 1, 4)  # (rows, heads, queries, d)
        keys[:, :, num_keys - queries :] = k
        values[:, :, num_keys - queries :] = v
        r = self._relative_keys[layer]
        scale = d**-0.5
        qv = torch.add(position_bias[:, None] * scale, q, alpha=scale).transpose(0, 1).reshape(heads, -1, d)
        # all distances each time, and numbers of keys that repeat: every new shape of a product costs a compilation
        by_distance = torch.bmm(qv, r.transpose(1, 2)).view(heads, rows, queries, -1)
        bias = shift_distances(by_distance)[..., by_distance.shape[-1] - 1 - num_keys :].transpose(0, 1)
        if self._hidden is not None:
            bias = bias + self._hidden
        qu = torch.add(content_bias[:, None] * scale, q, alpha=scale).reshape(-1, queries, d)
        scores = torch.bmm(qu, keys.flatten(0, 1).transpose(1, 2)).view(bias.shape).float() + bias
        p = torch.softmax(scores, -1).to(values.dtype)
        attended = torch.bmm(p.flatten(0, 1), values.flatten(0, 1)).view(rows, heads, queries, d)
        return attended.transpose(1, 2).reshape(rows, queries, heads * d)


def longest_step(config: ModelConfig) -> int:
    """Most positions that a memory takes in one step; its columns move to the front after as many at the latest."""
    return max(min(config.memory_length, 256), config.memory_length // 4)


def num_distances(config: ModelConfig) -> int:
    """How many distances, from 0 on, the queries of a step can have to the keys."""
    return config.memory_length + longest_step(config) - 1


def _hide(first: Sequence[int], begin: int, step: int, end: int, length: int, device: torch.device) -> Tensor | None:
    if step + 1 == end and max(first) <= begin:
        return None
    key = torch.arange(begin, end)
    query = torch.arange(step, end)[:, None]
    visible = (key < query) & (key > query - length) & (key >= torch.tensor(first)[:, None, None, None])
    visible |= key == query
    return torch.zeros(visible.shape).masked_fill_(~visible, -torch.inf).to(device)
