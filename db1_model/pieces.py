from __future__ import annotations

import json
import re
from array import array

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space
_ALONE = r"(?![^\x00-\x7f])"
_PIECE = re.compile(
    "|".join(
        [
            r"'(?:[stmd]|re|ve|ll)",
            rf" ?[A-Za-z]++{_ALONE}",
            rf" ?[0-9]++{_ALONE}",
            rf" ?[\x00-\x08\x0e-\x1f!-/:-@\[-`{{-\x7f]++{_ALONE}",
            rf" ?[^{_SPACE}]+",
            rf"[{_SPACE}]+(?![^{_SPACE}])",
            rf"[{_SPACE}]+",
        ]
    )
)
"""GPT-2's pieces of a text, as long as they are ASCII; a piece with other characters goes on to the next space.

No piece of GPT-2's begins before the end of one of these, or goes beyond it: so each can be encoded by itself.
"""

_MOST_PIECES = 1 << 18
_LONGEST_KEPT = 32  # characters
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


class Pieces(dict[str, bytes]):
    """The tokens of pieces of text, as bytes of uint16; those that were met first are kept, which are most in any text.

    Args:
        tokenizer: One that ``divides_as_gpt2``.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, piece: str) -> bytes:
        tokens = array("H", self._tokenizer.encode(piece).ids).tobytes()
        if len(self) < _MOST_PIECES and len(piece) <= _LONGEST_KEPT:
            self[piece] = tokens
        return tokens

    def encode(self, text: str) -> NDArray[np.uint16]:
        """Return the tokens of a text."""
        return np.frombuffer(b"".join(map(self.__getitem__, _PIECE.findall(text))), np.uint16)


def divides_as_gpt2(tokenizer: Tokenizer) -> bool:
    """Return whether a tokenizer takes a text as it is, in GPT-2's pieces, and its ids are below 65,536.

    Source:
        Radford et al., "Language models are unsupervised multitask learners", 2019.
    """
    parts = json.loads(tokenizer.to_str())
    as_it_is = all(parts[name] is None for name in ("normalizer", "post_processor", "truncation", "padding"))
    is_plain = all(token["special"] for token in parts["added_tokens"]) and tokenizer.encode_special_tokens
    return as_it_is and is_plain and parts["pre_tokenizer"] == _GPT2 and tokenizer.get_vocab_size() <= 1 << 16
