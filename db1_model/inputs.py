from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from db1_model.positions import PlacedPatches, StepPositions
from db1_model.text import TextTokenizer


class Inputs(NamedTuple):
    """What several rows of a pass take in: positions, one row after another, and what stands at those without tokens.

    Args:
        tokens: int64 of shape (positions,).
        positions: Local positions, of the same shape.
        lengths: Positions of each row.
        numbers: Runs of numbers, as in ``TokenSequence``.
        patches: Image patches, as in ``TokenSequence``.
    """

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    lengths: list[int]
    numbers: NDArray[np.int64]
    patches: PlacedPatches

    @classmethod
    def of(
        cls,
        places: StepPositions,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        lengths: list[int],
        stored: NDArray[np.uint16],
        images: NDArray[np.uint8] | None,
    ) -> Inputs:
        """Add the runs and patches of steps of one task; see ``StepPositions`` for the stored tokens and images."""
        return cls(tokens, positions, lengths, places.place_numbers(stored), places.place_patches(images))

    @classmethod
    def join(cls, parts: Sequence[Inputs]) -> Inputs:
        """Put the rows of several tasks one after another."""
        pixels, rows, columns = (
            np.concatenate(values) for values in zip(*(part.patches for part in parts), strict=True)
        )
        return cls(
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.positions for part in parts]),
            [length for part in parts for length in part.lengths],
            np.concatenate([part.numbers for part in parts]),
            (pixels, rows, columns),
        )


class CachedTokenizer(TextTokenizer):
    """Encodes a text once that comes at each step, as a mission does.

    Args:
        tokenizer: The tokenizer that encodes it.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        super().__init__(tokenizer._tokenizer)
        self._encode = lru_cache(maxsize=1024)(tokenizer.encode)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self._encode(text)
