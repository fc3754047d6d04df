from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.cache import ByteCache
from storage.folder import StoredFiles
from storage.manifest import Manifest
from storage.packing import Compression, decode, shard_name
from storage.shard_tables import EPISODES, ShardTables, read_part
from storage.tokens import TokenEpisode

Sample = tuple[NDArray[np.uint16], NDArray[np.uint8] | None]

_REMEMBERED = 4096  # samples of a task whose places are known without a look into the tables


class ShardIndex(Mapping[str, "ShardedTask"]):
    """The shards of a set of tasks, by task id; ``ShardStore.read`` makes it. It may go to other processes."""

    def __init__(self, files: StoredFiles, tasks: dict[str, ShardedTask]) -> None:
        self.manifest = files.manifest
        self._files, self._tasks = files, tasks

    @property
    def digest(self) -> str:
        """Digest of the index, and so of all shards that it refers to."""
        return self.manifest.digest

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks, in the order of the index."""
        return tuple(self._tasks)

    def __getitem__(self, task: str) -> ShardedTask:
        return self._tasks[task]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def verify(self) -> None:
        """Compare every file of every task with its digest.

        Raises:
            ManifestError: If a file is missing or damaged.
        """
        self._files.verify()
        for task in self._tasks.values():
            task.verify()


class ShardedTask:
    """The episodes of one task as they lie in its shards, end to end; their order was permuted at the write.

    ``layout`` is what the tokens of a step are, ``num_transitions`` the number of steps of all episodes. Only what is
    asked for is read, in samples of about 128 KiB, each compared with its checksum.

    Args:
        files: The task's files, or a function that opens them when they are first needed.
        cache: Gets decoded samples, and rows of tables.
        facts: What ``describe`` returned, so that nothing need be opened yet; None reads it.
        tables: Opens the tables alone, which is sooner done than opening all files; None opens all.

    Raises:
        ManifestError: If a table is missing or damaged.
    """

    def __init__(
        self,
        files: StoredFiles | Callable[[], StoredFiles],
        cache: ByteCache[Any],
        *,
        facts: Mapping[str, Any] | None = None,
        tables: Callable[[], StoredFiles] | None = None,
    ) -> None:
        self._opener, self._table_opener, self._cache = files, tables, cache
        facts = facts or self._read_facts()
        self._digest: str = facts["digest"]
        self.layout: dict[str, Any] = facts["layout"]
        self.num_transitions: int = facts["num_transitions"]
        self.step_tokens: int = facts["step_tokens"]
        self.image_shape: tuple[int, ...] | None = facts["image_shape"] and tuple(facts["image_shape"])
        self._compression: Compression = facts["compression"]
        self._forget()

    @property
    def manifest(self) -> Manifest:
        """The manifest of the task's shards."""
        return self._files.manifest

    def describe(self) -> dict[str, Any]:
        """Return what an index keeps of the task, as JSON values."""
        return {
            "compression": self._compression,
            "digest": self._digest,
            "image_shape": self.image_shape,
            "layout": self.layout,
            "num_transitions": self.num_transitions,
            "step_tokens": self.step_tokens,
        }

    def __len__(self) -> int:
        return self._tables.num_episodes

    def steps(self, first: int, last: int) -> Sample:
        """Return the tokens and the images of the steps ``first..last - 1`` of all episodes end to end.

        Returns:
            uint16 of shape (steps, tokens a step), and uint8 of shape (steps, height, width, 3) or None; read-only.

        Raises:
            IndexError: If there are no such steps.
            ManifestError: If a shard is missing or damaged.
        """
        begin, end, number = self._find(first)
        tokens, images = self._sample(number)
        if last <= end:
            stretch = slice(first - begin, last - begin)
            return tokens[stretch], None if images is None else images[stretch]
        parts = [(tokens[first - begin :], None if images is None else images[first - begin :])]
        while end < last:
            begin, end, number = self._find(end)
            tokens, images = self._sample(number)
            parts.append((tokens[: last - begin], None if images is None else images[: last - begin]))
        shown = [images for _, images in parts if images is not None]
        return np.concatenate([tokens for tokens, _ in parts]), np.concatenate(shown) if shown else None

    def episodes_near(self, step: int) -> list[int]:
        """Return the first steps of the episodes that are stored together with a step, and the step after the last.

        Raises:
            IndexError: If there is no such step.
            ManifestError: If a table is damaged.
        """
        begin, _, number = self._find(step)
        return self._cache.get((self._digest, "offsets", number), lambda: self._read_offsets(begin, number))

    def episode(self, index: int) -> TokenEpisode:
        """Return an episode; its arrays are read-only.

        Raises:
            ManifestError: If its shard is missing or damaged.
        """
        index = range(len(self))[index]
        number = self._tables.find_episode(index)
        sample, rows = self._tables.sample(number), self._tables.episodes(number)
        place = index - int(sample["episode"])
        first = int(sample["step"] + rows["length"][:place].sum())
        tokens, images = self.steps(first, first + int(rows["length"][place]))
        return TokenEpisode(tokens, images, int(rows["seed"][place]), float(rows["total_return"][place]))

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """Steps of each episode, shape (episodes,); all are in memory."""
        return self._episodes["length"].astype(np.int64)

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Seed of each episode, shape (episodes,); all are in memory."""
        return self._episodes["seed"].astype(np.int64)

    @property
    def total_returns(self) -> NDArray[np.float64]:
        """Sum of the rewards of each episode, shape (episodes,); all are in memory."""
        return self._episodes["total_return"].astype(np.float64)

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            ManifestError: If a file is missing or damaged.
        """
        self._files.verify()

    @cached_property
    def _files(self) -> StoredFiles:
        return self._opener if isinstance(self._opener, StoredFiles) else self._opener()

    @cached_property
    def _tables(self) -> ShardTables:
        return ShardTables(self._table_opener() if self._table_opener else self._files, self._cache)

    def _read_facts(self) -> dict[str, Any]:
        facts = json.loads(self._files.path("layout.json").read_bytes())
        return {**facts, "digest": self.manifest.digest, "num_transitions": self._tables.num_transitions}

    @cached_property
    def _episodes(self) -> NDArray[np.void]:
        return np.load(self._files.path(EPISODES))

    def _find(self, step: int) -> tuple[int, int, int]:
        """Return the first step of the sample that holds a step, the step after its last, and its number."""
        place = bisect_right(self._begins, step) - 1
        if place >= 0 and step < self._ends[place]:
            return self._begins[place], self._ends[place], self._numbers[place]
        if not 0 <= step < self.num_transitions:
            raise IndexError(f"step {step} of {self.num_transitions} of a task; expected 0..{self.num_transitions - 1}")
        if len(self._begins) == _REMEMBERED:
            self._forget()
        number = self._tables.find_step(step)
        found = int(self._tables.sample(number)["step"]), self._tables.end_of(number)[0], number
        place = bisect_right(self._begins, step)
        for known, value in zip((self._begins, self._ends, self._numbers), found, strict=True):
            known.insert(place, value)
        return found

    def _forget(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._numbers: list[int] = []

    def _read_offsets(self, begin: int, number: int) -> tuple[list[int], int]:
        offsets = [begin, *(begin + self._tables.episodes(number)["length"].cumsum()).tolist()]
        return offsets, 40 * len(offsets)

    def _sample(self, number: int) -> Sample:
        return self._cache.get((self._digest, number), lambda: self._read(number))

    def _read(self, number: int) -> tuple[Sample, int]:
        row = self._tables.sample(number)
        data = memoryview(
            read_part(
                self._files, shard_name(int(row["shard"])), int(row["at"]), int(row["bytes"]), int(row["checksum"])
            )
        )
        member = data[int(row["tokens_at"]) :][: int(row["tokens_bytes"])]
        tokens = decode(member, np.dtype("<u2"), self._compression).reshape(-1, self.step_tokens)
        if self.image_shape is None:
            return (tokens, None), tokens.nbytes
        member = data[int(row["images_at"]) :][: int(row["images_bytes"])]
        images = decode(member, np.dtype(np.uint8), self._compression).reshape(-1, *self.image_shape)
        return (tokens, images), tokens.nbytes + images.nbytes
