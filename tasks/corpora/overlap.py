from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿]|[^\W_぀-ヿ㐀-䶿一-鿿豈-﫿]+")


def words_in_common(expected: str, answer: str) -> float:
    """Return how much of two texts is the same, from 0 to 1: F1 over their words, each as often as it occurs.

    Case and punctuation do not count, the order of the words neither. A Chinese character or a Japanese one is a word.
    Texts without words are compared as they are.

    Args:
        expected: The reference.
        answer: What is judged.

    Source:
        Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", 2016; articles count here,
        since the texts may be of any language.
    """
    wanted, said = (Counter(_WORD.findall(text.casefold())) for text in (expected, answer))
    if not wanted:
        return float(expected.strip() == answer.strip())
    both = (wanted & said).total()
    return 2 * both / (wanted.total() + said.total())
