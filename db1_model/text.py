from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from db1_model.pieces import Pieces, divides_as_gpt2

END_OF_TEXT = "<|endoftext|>"
"""Token 0: padding, unknown, beginning and end of a text at once, as in DB1."""

FILE_NAME = "tokenizer.json"
_SMALLEST_SIZE = 257  # every byte and END_OF_TEXT


class TextTokenizer:
    """Byte-level byte-pair encoding: any UTF-8 text becomes tokens and comes back unchanged.

    Args:
        tokenizer: A byte-level BPE tokenizer whose token 0 is ``<|endoftext|>``.

    Raises:
        ValueError: If token 0 is another one.

    Source:
        Radford et al., "Language models are unsupervised multitask learners", 2019 (byte-level BPE).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if tokenizer.token_to_id(END_OF_TEXT) != 0:
            raise ValueError(
                f"{END_OF_TEXT} has id {tokenizer.token_to_id(END_OF_TEXT)}; expected 0, as `TextTokenizer.train` gives"
            )
        tokenizer.encode_special_tokens = True  # a text that spells the token is text
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, sentences: Iterable[str], vocab_size: int) -> TextTokenizer:
        """Learn merges from sentences; equal sentences in any order give an equal tokenizer.

        Args:
            sentences: Texts; each distinct one counts as often as it occurs.
            vocab_size: Largest number of tokens; fewer come out when every word is a single token before.

        Raises:
            ValueError: If ``vocab_size`` leaves no room for every byte.
        """
        if vocab_size < _SMALLEST_SIZE:
            raise ValueError(f"a text vocabulary of {vocab_size} tokens; expected at least {_SMALLEST_SIZE}")
        tokenizer = _make_tokenizer(BPE())
        trainer = BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[AddedToken(END_OF_TEXT, special=True)],
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(sentences), trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | Path) -> TextTokenizer:
        """Open a ``tokenizer.json``, a folder that holds one, or a folder with ``vocab.json`` and ``merges.txt``.

        Raises:
            FileNotFoundError: If there is none of them.
        """
        path = Path(path)
        if path.is_file():
            return cls(Tokenizer.from_file(str(path)))
        if (path / FILE_NAME).is_file():
            return cls(Tokenizer.from_file(str(path / FILE_NAME)))
        vocab, merges = path / "vocab.json", path / "merges.txt"
        if vocab.is_file() and merges.is_file():
            tokenizer = _make_tokenizer(BPE.from_file(str(vocab), str(merges)))
            tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True)])
            return cls(tokenizer)
        raise FileNotFoundError(
            f"no text tokenizer in {path}; expected {FILE_NAME}, or vocab.json and merges.txt. Make it with:\n"
            "  db1 make tokens"
        )

    def save(self, folder: str | Path) -> Path:
        """Write ``tokenizer.json`` into a folder and return its path."""
        path = Path(folder) / FILE_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(self._tokenizer.to_str(), encoding="utf-8")
        temporary.replace(path)
        return path

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> NDArray[np.integer]:
        """Return the tokens of a text as an array."""
        return np.array(self._tokenizer.encode(text).ids) if self._pieces is None else self._pieces.encode(text)

    @cached_property
    def _pieces(self) -> Pieces | None:
        return Pieces(self._tokenizer) if divides_as_gpt2(self._tokenizer) else None

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; ``<|endoftext|>`` leaves nothing behind."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self._tokenizer.get_vocab_size()

    @property
    def digest(self) -> str:
        """Digest of the tokens and merges; equal digests mean equal encodings."""
        model = json.loads(self._tokenizer.to_str())["model"]
        content = json.dumps({"vocab": model["vocab"], "merges": model["merges"]}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


class TextStream:
    """Turns tokens into text as they come, in pieces of whole characters.

    Args:
        tokenizer: The tokenizer of the tokens.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._untold: list[int] = []

    def push(self, token: int) -> str:
        """Return what a token makes complete; empty inside a character of several bytes."""
        self._untold.append(token)
        said = self._tokenizer.decode(self._untold)
        return "" if said.endswith("\N{REPLACEMENT CHARACTER}") else self.finish()

    def finish(self) -> str:
        """Return what is left, also of a character that is not complete."""
        said, self._untold = self._tokenizer.decode(self._untold), []
        return said


def _make_tokenizer(model: BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer
