from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tasks.corpora.any_text import AnyText
from tasks.corpora.prose import Document, documents, versions
from tasks.task import EVALUATION_SEED, Observation, unwrap

_LONGEST = 10_000_000  # characters of a document


class ReadingEnvironment(gymnasium.Env):
    """A document, to be predicted; a model reads it and is scored by the bits that it needs, and does not act here.

    Observation:
        Nothing.

    Action:
        The whole document, a text.

    Reward:
        Minus the bits per byte that are needed: 0 for the document itself, and for any other text what the frequencies
        of bytes in the training documents need for it.

    End:
        Terminated after the one action.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self) -> None:
        self.observation_space = spaces.Dict({})
        self.action_space = AnyText(_LONGEST)
        self.document = Document("", "")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Open the document of a seed: a training one, or from ``EVALUATION_SEED`` on one that is held out.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("a document is chosen by the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        training, held_out = documents()
        chosen, place = (held_out, seed - EVALUATION_SEED) if seed >= EVALUATION_SEED else (training, seed)
        self.document = chosen[place % len(chosen)]
        return {}, {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Compare a text with the document."""
        reward = 0.0 if action == self.document.text else -unigram_bits(self.document.text)
        return {}, reward, True, False, {}


class Author:
    """Knows the document."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Take the environment of another document.

        Raises:
            ValueError: If the environment is not one of documents.
        """
        self._document = unwrap(environment, ReadingEnvironment).document

    def act(self, observation: Observation) -> str:
        """Return the document."""
        return self._document.text

    def provenance(self) -> Mapping[str, Any]:
        """Say where the document is from."""
        return {"source": self._document.source, "versions": versions()}


class Unigram(Author):
    """Knows how often each byte occurs, and nothing else."""

    def act(self, observation: Observation) -> str:
        """Return no text."""
        return ""

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"predicts": "frequencies of bytes"}


def unigram_bits(text: str) -> float:
    """Return the bits per byte of a text under the frequencies of bytes in the training documents."""
    found = np.frombuffer(text.encode(), np.uint8)
    return float(-_log2_frequencies()[found].mean()) if len(found) else 0.0


@cache
def _log2_frequencies() -> np.ndarray:
    found = np.frombuffer("".join(document.text for document in documents()[0]).encode(), np.uint8)
    counts = 1 + np.bincount(found, minlength=256)  # so that every byte can occur
    return np.log2(counts / counts.sum())
