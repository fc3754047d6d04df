from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from db1_model.config import ModelConfig

MAX_TOKENS = 2**16
"""Token ids are stored as uint16."""


@dataclass(frozen=True)
class Vocabulary:
    """Which token id means what: text, then the bins of continuous numbers, then the separator.

    A discrete number's id is the number itself, so these ids overlap the first text tokens, as in DB1 and Gato.

    Args:
        text_size: Ids kept for text, ``0..text_size - 1``; a tokenizer may use fewer.
        num_discrete: Discrete values that have an id; at most ``text_size``.
        num_bins: Bins of a continuous number.
        tokenizer_digest: Digest of the text tokenizer that the text ids belong to.

    Raises:
        ValueError: If discrete values would run into the bins, or ids would not fit into uint16.
    """

    text_size: int
    num_discrete: int = 1024
    num_bins: int = 1024
    tokenizer_digest: str = ""

    def __post_init__(self) -> None:
        if self.num_discrete > self.text_size:
            raise ValueError(
                f"{self.num_discrete} discrete values overlap {self.text_size} text tokens; "
                "expected at least as many text tokens"
            )
        if self.size > MAX_TOKENS:
            raise ValueError(f"a vocabulary of {self.size} tokens does not fit into uint16; expected {MAX_TOKENS}")

    @classmethod
    def of(cls, config: ModelConfig, tokenizer_digest: str) -> Vocabulary:
        """Return the vocabulary of a model."""
        return cls(config.text_vocab_size, config.num_discrete, config.num_bins, tokenizer_digest)

    @property
    def bin_start(self) -> int:
        """Id of bin 0."""
        return self.text_size

    @property
    def separator(self) -> int:
        """Token between a step's observation and its action; the last id."""
        return self.text_size + self.num_bins

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.text_size + self.num_bins + 1

    @property
    def digest(self) -> str:
        """Digest of the sizes and of the tokenizer; equal digests mean equal ids."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Vocabulary:
        """Read what ``to_json`` returned."""
        return cls(**value)
