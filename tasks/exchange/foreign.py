from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.manifest import digest_of


class ForeignDataError(ValueError):
    """A file of somebody else's episodes is damaged, or does not hold what it ought to."""


@dataclass(frozen=True)
class SourceFile:
    """A file that episodes are read from.

    Args:
        path: Where it lies.
        name: Its path below the source, with forward slashes.
        sha256: Hexadecimal digest of its content.
    """

    path: Path
    name: str
    sha256: str

    @classmethod
    def at(cls, path: Path, name: str = "") -> SourceFile:
        """Take the digest of a file; its name is the last part of the path when none is given."""
        return cls(path, name or path.name, digest_of(path))


@dataclass(frozen=True)
class ForeignEpisode:
    """An episode as its source has it: T transitions in the units of the environment that was played there.

    Args:
        file: Where it was read.
        index: Its place among the episodes of the file.
        column: Name of the observations there; empty when each observation is a column of its own.
        observations: What was seen before each action: an array of T rows, a list of T texts, or a mapping or tuple of
            such, as the environment's observation space has it.
        action_column: Name of the actions.
        actions: T rows.
        rewards: T numbers.
        terminated: Whether the environment ended the episode; False when the source does not tell.
        truncated: Whether a limit ended it; False when the source does not tell.
        seed: The seed of its reset; None when the source does not tell.
        provenance: JSON values that the source has on how the actions came about.
        action_bounds: Lowest and highest action that the source declares; None when it does not.
        exported_from: ``task`` and ``schema`` when this pipeline wrote the source; None otherwise.
    """

    file: SourceFile
    index: int
    column: str
    observations: Any
    action_column: str
    actions: NDArray[Any]
    rewards: NDArray[Any]
    terminated: bool
    truncated: bool
    seed: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    action_bounds: tuple[NDArray[Any], NDArray[Any]] | None = None
    exported_from: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        """The file and the episode, for a message."""
        return f"{self.file.path}, episode {self.index}"

    def columns(self) -> dict[str, NDArray[Any] | list[str]]:
        """Return the observations flat, by the names of their columns."""
        return flatten(self.observations, self.column)


class Source(Protocol):
    """Somebody else's episodes, in an order that is always the same."""

    files: Sequence[SourceFile]

    def __iter__(self) -> Iterator[ForeignEpisode]:
        """Read one episode after another.

        Raises:
            ForeignDataError: If a file is damaged or lacks something; the message names file, episode and column.
        """
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return JSON values that are worth knowing once the episodes are read."""
        ...


def flatten(observations: Any, column: str) -> dict[str, NDArray[Any] | list[str]]:
    """Return nested observations by path, such as ``observations/position``."""
    if isinstance(observations, tuple):
        observations = {str(place): part for place, part in enumerate(observations)}
    if not isinstance(observations, Mapping):
        return {column: observations}
    flat: dict[str, NDArray[Any] | list[str]] = {}
    for key, part in observations.items():
        flat |= flatten(part, f"{column}/{key}" if column else str(key))
    return flat


def describe(values: NDArray[Any] | Sequence[str]) -> str:
    """Return what a column holds at each step, such as ``float32 of shape (17,)``."""
    return f"{values.dtype} of shape {values.shape[1:]}" if isinstance(values, np.ndarray) else "text"


def refuse(where: str, found: str, expected: str, remedy: str) -> NoReturn:
    """Say what is wrong with foreign data.

    Raises:
        ForeignDataError: Always.
    """
    raise ForeignDataError(f"{where}: found {found}; expected {expected}; {remedy}")
