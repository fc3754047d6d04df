from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.cache import ByteCache
from storage.folder import StoredFiles
from storage.packing import Compression, decode, shard_name
from storage.tokens import TokenEpisode

Sample = tuple[NDArray[np.uint16], NDArray[np.uint8] | None]


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
    """The episodes of one task as they lie in its shards; their order is that of the shards, permuted at the write.

    ``layout`` is what the tokens of a step are; ``episode_lengths`` (steps), ``seeds`` and ``total_returns`` have one
    entry an episode.
    """

    def __init__(self, files: StoredFiles, cache: ByteCache[Sample]) -> None:
        self.manifest = files.manifest
        self._files, self._cache = files, cache
        facts = json.loads(files.path("layout.json").read_bytes())
        self.layout: dict[str, Any] = facts["layout"]
        self.step_tokens: int = facts["step_tokens"]
        self.image_shape: tuple[int, ...] | None = facts["image_shape"] and tuple(facts["image_shape"])
        self._compression: Compression = facts["compression"]
        self._samples = np.load(files.path("samples.npy"))
        episodes = np.load(files.path("episodes.npy"))
        self.episode_lengths: NDArray[np.int64] = episodes["length"].astype(np.int64)
        self.seeds: NDArray[np.int64] = episodes["seed"].astype(np.int64)
        self.total_returns: NDArray[np.float64] = episodes["total_return"].astype(np.float64)
        self._sample_of = episodes["sample"]
        starts = np.cumsum(self.episode_lengths) - self.episode_lengths
        self._start_in_sample = starts - starts[np.searchsorted(self._sample_of, self._sample_of)]

    def __len__(self) -> int:
        return len(self.episode_lengths)

    def episode(self, index: int) -> TokenEpisode:
        """Return an episode; its arrays are read-only views of a decoded sample.

        Raises:
            ManifestError: If its shard is missing or damaged.
        """
        index = range(len(self))[index]
        number = int(self._sample_of[index])
        tokens, images = self._cache.get((self.manifest.digest, number), lambda: self._read(number))
        start = int(self._start_in_sample[index])
        stop = start + int(self.episode_lengths[index])
        return TokenEpisode(
            tokens=tokens[start:stop],
            images=None if images is None else images[start:stop],
            seed=int(self.seeds[index]),
            total_return=float(self.total_returns[index]),
        )

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            ManifestError: If a file is missing or damaged.
        """
        self._files.verify()

    def _read(self, number: int) -> tuple[Sample, int]:
        row = self._samples[number]
        with self._files.path(shard_name(int(row["shard"]))).open("rb") as shard:
            shard.seek(int(row["tokens_at"]))
            tokens = decode(shard.read(int(row["tokens_bytes"])), np.dtype("<u2"), self._compression)
            tokens = tokens.reshape(-1, self.step_tokens)
            if self.image_shape is None:
                return (tokens, None), tokens.nbytes
            shard.seek(int(row["images_at"]))
            images = decode(shard.read(int(row["images_bytes"])), np.dtype(np.uint8), self._compression)
            images = images.reshape(-1, *self.image_shape)
        return (tokens, images), tokens.nbytes + images.nbytes
