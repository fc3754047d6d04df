from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.corpora.any_text import AnyText
from tasks.corpora.prose import Document, Prose
from tasks.task import Observation, unwrap

_LONGEST = 10_000_000  # characters of a document


class Library(Protocol):
    """Documents of one kind, each chosen by a seed; from ``EVALUATION_SEED`` on they are held out."""

    def draw(self, seed: int) -> Document:
        """Return the document of a seed."""
        ...

    def byte_counts(self) -> NDArray[np.int64]:
        """Return how often each byte occurs in the training documents, shape (256,)."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return what is worth knowing of all documents, as JSON values."""
        ...


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

    Args:
        library: Where the documents come from.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, library: Library | None = None) -> None:
        self.library = library or Prose()
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
        self.document = self.library.draw(seed)
        return {}, {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Compare a text with the document."""
        reward = 0.0 if action == self.document.text else -unigram_bits(self.document.text, self.library)
        return {}, reward, True, False, {}


class Author:
    """Knows the document."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Take the environment of another document.

        Raises:
            ValueError: If the environment is not one of documents.
        """
        inner = unwrap(environment, ReadingEnvironment)
        self._document, self._facts = inner.document, inner.library.facts()

    def act(self, observation: Observation) -> str:
        """Return the document."""
        return self._document.text

    def provenance(self) -> Mapping[str, Any]:
        """Say where the document is from."""
        return {"source": self._document.source, **self._facts}


class Unigram(Author):
    """Knows how often each byte occurs, and nothing else."""

    def act(self, observation: Observation) -> str:
        """Return no text."""
        return ""

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"predicts": "frequencies of bytes"}


def unigram_bits(text: str, library: Library | None = None) -> float:
    """Return the bits per byte of a text under the frequencies of bytes in the training documents of a library."""
    found = np.frombuffer(text.encode(), np.uint8)
    counts = 1 + (library or Prose()).byte_counts()  # so that every byte can occur
    return float(-np.log2(counts / counts.sum())[found].mean()) if len(found) else 0.0
