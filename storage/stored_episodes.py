from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from storage.arrays import ArrayReader
from storage.blocks import EpisodeBlocks
from storage.folder import StoredFiles

Item = TypeVar("Item")


class StoredEpisodes(Sequence[Item], ABC, Generic[Item]):
    """The stored episodes of a task, whose steps lie end to end in the arrays of one group. They are read-only.

    The group has ``episode_offsets`` (episodes + 1), and ``seeds`` and ``total_returns`` with one entry an episode.
    An array is read when it is first needed.

    Args:
        files: The files of the task's group.

    Raises:
        ManifestError: If a file is missing or damaged; reading an episode may raise it too.
    """

    _by_episode: Sequence[str] = ("seeds", "total_returns")

    def __init__(self, files: StoredFiles) -> None:
        self.manifest = files.manifest
        self._arrays = ArrayReader(files)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._episode(i) for i in range(*index.indices(len(self)))]
        return self._episode(range(len(self))[index])

    def check(self) -> None:
        """Compare the numbers of rows of all arrays with the manifest.

        Raises:
            ManifestError: If one differs, or a file is missing or damaged.
        """
        counts: Mapping[str, int] = self.manifest.metadata
        by_step = [*self._rows, *(f"{path}/ends" for path in self._texts)]
        self._arrays.check_rows({"episode_offsets": counts["num_episodes"] + 1})
        self._arrays.check_rows(dict.fromkeys(self._by_episode, counts["num_episodes"]))
        self._arrays.check_rows(dict.fromkeys(by_step, counts["num_transitions"]))

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """Number of steps of each episode, shape (episodes,)."""
        return np.diff(self._offsets)

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        """Seed of each episode, shape (episodes,)."""
        return self._arrays.read("seeds")

    @cached_property
    def total_returns(self) -> NDArray[np.float64]:
        """Sum of the rewards of each episode, shape (episodes,)."""
        return self._arrays.read("total_returns")

    @abstractmethod
    def _episode(self, index: int) -> Item:
        """Return an episode; the index is not negative."""

    @property
    @abstractmethod
    def _rows(self) -> Sequence[str]:
        """Arrays with one row a step."""

    @property
    def _texts(self) -> Sequence[str]:
        """Texts with one string a step."""
        return ()

    def _read_steps(self, index: int) -> Mapping[str, NDArray[Any]]:
        return self._blocks.episode(range(len(self))[index])

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return self._arrays.read("episode_offsets")

    @cached_property
    def _blocks(self) -> EpisodeBlocks:
        return EpisodeBlocks(self._arrays, self._offsets, rows=self._rows, texts=self._texts)
