from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from db1_model.config import ModelConfig
from db1_model.ring import Ring
from db1_model.rotary import rotate, rotations_of
from db1_model.streaming import Step


class Memory:
    """Keys and values of the latest positions of many episodes, so that each position is computed once.

    Every episode has a slot, and every slot a row with a counter of its own: position p stands in column p modulo the
    ring's size, so that rows of different age and of steps of different length need not be in step with each other. A
    query sees its own key and the ``memory_length - 1`` before it; with ``memory="masked"`` those before its episode's
    first are hidden, with ``"zeros"`` they are what hidden states of zero give, as in DB1.

    Args:
        config: The model's.
        relative_keys: A layer's keys of the distances 0, ..., ``ring_size(config) - 1``, for every layer: shape (heads,
            distances, d); none with rope.
        zero_keys: A layer's key and value of a hidden state of zero, for every layer: shape (2, heads, d).
        num_slots: Number of episodes.
    """

    def __init__(
        self, config: ModelConfig, relative_keys: Sequence[Tensor], zero_keys: Sequence[Tensor], *, num_slots: int
    ) -> None:
        self.length = config.memory_length
        self.num_slots = num_slots
        heads, d = zero_keys[0].shape[1:]
        self.ring = Ring(config, zero_keys[0].device)
        # for every layer keys (rows, heads, d, columns) and values (rows, heads, columns, d), as products like them
        self.keys = [zero.new_zeros(num_slots, heads, d, self.ring.size) for zero in zero_keys]
        self.values = [zero.new_zeros(num_slots, heads, self.ring.size, d) for zero in zero_keys]
        self._relative_keys = [(keys * d**-0.5).transpose(1, 2).contiguous() for keys in relative_keys]
        self._rope = config.position == "rope"
        self._zeros = self._repeat_zeros(zero_keys) if config.memory == "zeros" else None
        self._slots = list(range(num_slots))  # of each row
        self._begin = np.zeros(num_slots, np.int64)  # each row's first position that is not hidden
        self._end = np.zeros(num_slots, np.int64)  # each row's next position
        self.reset(self._slots)

    @property
    def longest_step(self) -> int:
        """Most positions that a row takes at once."""
        return self.ring.size - self.length + 1

    @torch.inference_mode()
    def reset(self, slots: Sequence[int], prompt: Memory | None = None) -> None:
        """Begin a new episode in some slots.

        Args:
            slots: The slots.
            prompt: A memory with one slot; the new episodes remember what it does.
        """
        rows = self._rows(slots)
        self._begin[rows] = self._end[rows] = 0
        if prompt is not None:
            self._begin[rows], self._end[rows] = prompt._begin[0], prompt._end[0]
            for keys, values, *prompted in zip(self.keys, self.values, prompt.keys, prompt.values, strict=True):
                keys[rows], values[rows] = prompted
        elif self._zeros is not None:
            self._end[rows] = self.length
            for keys, values, zeros in zip(self.keys, self.values, self._zeros, strict=True):
                keys[rows, ..., : self.length] = zeros[0].transpose(1, 2)
                values[rows, :, : self.length] = zeros[1]

    @torch.inference_mode()
    def select(self, slots: Sequence[int]) -> None:
        """Choose the episodes of the coming steps: the first row of a step belongs to ``slots[0]``, and so on.

        Rows that change places are copied, so that slots that act together should be given in one order each time; the
        first ones of the order last given cost nothing.

        Raises:
            ValueError: If a slot is given twice or does not exist.
        """
        self.check(slots)
        if self._slots[: len(slots)] == list(slots):
            return
        order = self._rows(slots)
        order += sorted(set(range(self.num_slots)) - set(order))
        moved = [row for row, source in enumerate(order) if row != source]
        sources = [order[row] for row in moved]
        for cache in (*self.keys, *self.values):
            cache[moved] = cache[sources]
        self._slots = [self._slots[row] for row in order]
        self._begin, self._end = self._begin[order], self._end[order]

    def check(self, slots: Sequence[int]) -> None:
        """Refuse slots that cannot act together.

        Raises:
            ValueError: If a slot is given twice or does not exist.
        """
        if len(set(slots)) != len(slots) or not set(slots) <= set(range(self.num_slots)):
            raise ValueError(f"slots {list(slots)}; expected different ones of 0..{self.num_slots - 1}")

    def begin_step(self, lengths: Sequence[int], *, last_only: bool = False) -> Step:
        """Make room for the next positions of the first rows.

        Args:
            lengths: New positions of each row; a row with none takes no part.
            last_only: Whether the last layer is asked for the last new position of each row alone.

        Raises:
            ValueError: If a row gets more than ``longest_step`` positions.
        """
        counts = np.array(lengths, np.int64)
        if counts.max() > self.longest_step:
            raise ValueError(f"a step of {counts.max()} positions; expected at most {self.longest_step}")
        ends = counts.cumsum()
        rows = np.arange(len(counts)).repeat(counts)
        positions = np.arange(ends[-1]) + (self._end[: len(counts)] - ends + counts).repeat(counts)
        self._end[: len(counts)] += counts
        columns = positions % self.ring.size
        farthest = np.minimum(positions - self._begin[rows], self.length - 1)  # distance that is not hidden
        everything = last = self.ring.ask(counts, columns, farthest, positions)
        if last_only and len(rows) > np.count_nonzero(counts):
            chosen = (ends - 1)[counts > 0]
            last = self.ring.ask(counts.clip(max=1), columns[chosen], farthest[chosen], positions[chosen])
            last = replace(last, places=self.ring.move(chosen))
        rotations = (
            rotations_of(self.ring.move(positions), self.keys[0].shape[2])[:, None, None] if self._rope else None
        )
        row, column = self.ring.move(np.stack([rows, columns]))
        return Step(self.keys, self.values, self._relative_keys, row, column, everything, last, rotations)

    def _rows(self, slots: Sequence[int]) -> list[int]:
        row_of = {slot: row for row, slot in enumerate(self._slots)}
        return [row_of[slot] for slot in slots]

    def _repeat_zeros(self, zero_keys: Sequence[Tensor]) -> list[Tensor]:
        """The keys and values of ``length`` zero states from position 0 on, (2, heads, length, d) for every layer."""
        zeros = [zero[:, :, None].expand(-1, -1, self.length, -1) for zero in zero_keys]
        if not self._rope:
            return zeros
        rotations = rotations_of(torch.arange(self.length, device=self.ring.device), zeros[0].shape[-1])
        return [torch.stack([rotate(keys, rotations), values]) for keys, values in zeros]
