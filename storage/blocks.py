from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.arrays import ArrayReader
from storage.cache import ByteCache

BLOCK_BYTES = 16 << 20
CACHE_BYTES = 64 << 20
_EPISODES_AT_ONCE = 1 << 14  # whose ends of texts are read together


class EpisodeBlocks:
    """Reads the steps of episodes that lie end to end, some 16 MiB of neighbouring episodes at a time.

    Going through the episodes in order decodes every chunk about once; one episode from anywhere costs one block.

    Args:
        arrays: Where the steps lie.
        episode_offsets: First step of each episode, and the number of all steps, shape (episodes + 1,).
        rows: Arrays with one row a step.
        texts: Texts with one string a step.
    """

    def __init__(
        self,
        arrays: ArrayReader,
        episode_offsets: NDArray[np.int64],
        *,
        rows: Sequence[str],
        texts: Sequence[str],
    ) -> None:
        self._arrays, self._offsets, self._rows, self._texts = arrays, episode_offsets, rows, texts
        self._cache: ByteCache[dict[str, NDArray[Any]]] = ByteCache(CACHE_BYTES)

    def episode(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the steps of an episode by name; the arrays are read-only views."""
        number = int(self._block_of[index])
        first = int(np.searchsorted(self._block_of, number))
        block = self._cache.get(number, lambda: self._read(number, first))
        start, stop = self._offsets[index : index + 2] - self._offsets[first]
        return {name: values[start:stop] for name, values in block.items()}

    @cached_property
    def _block_of(self) -> NDArray[np.int64]:
        """The block of each episode, shape (episodes,): by the bytes that stand before it."""
        step_bytes = sum(self._arrays.row_bytes(path) for path in self._rows) + 64 * len(self._texts)
        before = self._offsets[:-1] * step_bytes
        for path in self._texts:
            before[1:] += self._text_ends(path)
        return before // BLOCK_BYTES

    def _text_ends(self, path: str) -> NDArray[np.int64]:
        """Return where the text of each episode but the last one ends, shape (episodes - 1,)."""
        last_steps, ends = self._offsets[1:-1] - 1, [np.zeros(0, np.int64)]
        for start in range(0, len(last_steps), _EPISODES_AT_ONCE):
            some = last_steps[start : start + _EPISODES_AT_ONCE]
            ends.append(self._arrays.read(f"{path}/ends", int(some[0]), int(some[-1]) + 1)[some - some[0]])
        return np.concatenate(ends)

    def _read(self, number: int, first: int) -> tuple[dict[str, NDArray[Any]], int]:
        last = int(np.searchsorted(self._block_of, number, side="right"))
        start, stop = int(self._offsets[first]), int(self._offsets[last])
        block = {path: self._arrays.read(path, start, stop) for path in self._rows}
        block |= {path: self._arrays.read_text(path, start, stop) for path in self._texts}
        for values in block.values():
            values.flags.writeable = False
        said = sum(len(text) for path in self._texts for text in block[path])
        return block, sum(values.nbytes for values in block.values()) + said
