from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LONGEST_TEXT = 10_000_000
"""Most characters of a text."""


@dataclass(frozen=True)
class Sample:
    """What a user's own data say once: a document, a picture with its caption, or a talk. It becomes an episode.

    Args:
        where: The file and the place in it, for people.
        answers: What is to be said, turn by turn; a document is a single answer.
        questions: What is asked before each; empty where nothing is.
        image: What is shown, uint8 of shape (height, width, 3); None where nothing is.
    """

    where: str
    answers: tuple[str, ...]
    questions: tuple[str, ...] = ()
    image: NDArray[np.uint8] | None = None

    @cached_property
    def sha256(self) -> bytes:
        """Digest of all that is said and shown; equal digests mean the same sample, wherever it lies."""
        said = f"{len(self.questions)}\0" + "\0".join([*self.questions, *self.answers])
        digest = hashlib.sha256(said.encode())
        if self.image is not None:
            digest.update(self.image.tobytes())
        return digest.digest()


@dataclass(frozen=True)
class BadSample:
    """Something that ought to be a sample and is none.

    Args:
        where: The file and the place in it.
        fault: What was found, and what was expected.
    """

    where: str
    fault: str


class SampleSource(Protocol):
    """A user's own data, in an order that is always the same; they can be read again from the beginning."""

    def __iter__(self) -> Iterator[Sample | BadSample]:
        """Read one sample after another."""
        ...

    def recipe(self) -> Mapping[str, Any]:
        """Return JSON values that determine the samples: digests of files, and how they are read."""
        ...


def read_sample(where: str, read: Callable[[], Sample]) -> Sample | BadSample:
    """Return what is read, or why it is no sample."""
    try:
        return read()
    except ValueError as error:
        return BadSample(where, str(error))


def check_text(text: Any, what: str = "the text") -> str:
    """Return a text that can be stored and learnt from.

    Raises:
        ValueError: If it is no text, empty, too long, or has half a character.
    """
    if not isinstance(text, str):
        raise ValueError(f"{what} is {type(text).__name__}; expected a string")
    if not text or text.isspace():
        raise ValueError(f"{what} is empty; expected at least one character that is no space")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{what} has {len(text):,} characters; expected at most {LONGEST_TEXT:,}: divide it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} has half a character at {error.start}; expected whole ones") from None
    return text


def take_field(record: Any, field: str) -> Any:
    """Return a field of a record.

    Raises:
        ValueError: If it is no record, or has no such field.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}; expected an object with the field {field!r}")
    if field not in record:
        raise ValueError(f"the fields {sorted(record)[:8]}; expected {field!r} among them (choose another by --field)")
    return record[field]
