from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from storage.cache import ByteCache
from storage.folder import StoredFiles

EPISODE_ROW = np.dtype([("length", "<i8"), ("seed", "<i8"), ("total_return", "<f8")])
SAMPLE_ROW = np.dtype(
    [
        ("step", "<i8"),  # the first of the task's steps that lies in the sample
        ("episode", "<i8"),  # the first of its episodes
        ("at", "<i8"),  # where the sample's tar members begin in the shard
        ("shard", "<u4"),
        ("bytes", "<u4"),
        ("tokens_at", "<u4"),  # from ``at``, as ``images_at``
        ("tokens_bytes", "<u4"),
        ("images_at", "<u4"),
        ("images_bytes", "<u4"),
        ("checksum", "<u4"),  # CRC-32C of the sample's bytes in the shard
        ("episodes_checksum", "<u4"),  # CRC-32C of its episodes' rows
    ]
)
_PAGE_ROW = np.dtype([("step", "<i8"), ("episode", "<i8"), ("checksum", "<i8")])
_PAGE_SAMPLES = 1024

PAGES, SAMPLES, EPISODES = TABLES = "pages.npy", "samples.npy", "episodes.npy"


def write_tables(folder: Path, samples: NDArray[np.void], episodes: NDArray[np.void]) -> None:
    """Write the tables of a task: a row a sample, a row an episode, and a row for every 1,024 samples.

    Args:
        folder: Gets ``samples.npy``, ``episodes.npy`` and ``pages.npy``.
        samples: Rows of ``SAMPLE_ROW``, in the order of the task's steps.
        episodes: Rows of ``EPISODE_ROW``, in the order of the task's steps.
    """
    pages = [
        (samples["step"][first], samples["episode"][first], checksum_of(samples[first : first + _PAGE_SAMPLES]))
        for first in range(0, len(samples), _PAGE_SAMPLES)
    ]
    end = (episodes["length"].sum(), len(episodes), len(samples))
    np.save(folder / PAGES, np.array([*pages, end], _PAGE_ROW))
    np.save(folder / SAMPLES, samples)
    np.save(folder / EPISODES, episodes)


def checksum_of(data: bytes | NDArray[np.void]) -> int:
    """Return the CRC-32C of bytes, or of the bytes of rows."""
    return google_crc32c.value(data if isinstance(data, bytes) else data.tobytes())


def read_part(files: StoredFiles, name: str, at: int, size: int, checksum: int) -> bytes:
    """Read a part of a stored file.

    Args:
        files: Of a task.
        name: Of the file.
        at: Where the part begins.
        size: Its bytes.
        checksum: Its CRC-32C.

    Raises:
        ManifestError: If the file is missing, or the bytes have another checksum.
    """
    data = files.read_part(name, at, size)
    if (found := checksum_of(data)) != checksum:
        path = files.path(name, check="sizes")
        raise files.error(
            f"{path} is corrupt (bytes {at}..{at + size} have the CRC-32C {found:08x}, expected {checksum:08x})"
        )
    return data


class ShardTables:
    """Where each step and each episode of a task lies in its shards.

    Only a row for every 1,024 samples is kept in memory, some 24 bytes per 100 MB of data; rows of samples and episodes
    are read when they are asked for. Every row is compared with its checksum when it is read.

    Args:
        files: The task's files, the tables among them.
        cache: Gets pages of sample rows.

    Raises:
        ManifestError: If a table is missing or damaged; every method may raise it too.
    """

    def __init__(self, files: StoredFiles, cache: ByteCache) -> None:
        self._files, self._cache = files, cache
        pages = np.load(files.path(PAGES))
        self.num_transitions, self.num_episodes = int(pages["step"][-1]), int(pages["episode"][-1])
        self.num_samples = int(pages["checksum"][-1])
        self._first_steps, self._first_episodes = pages["step"].copy(), pages["episode"].copy()
        self._checksums = pages["checksum"]

    def find_step(self, step: int) -> int:
        """Return the number of the sample that holds a step of the task."""
        page = int(self._first_steps.searchsorted(step, side="right")) - 1
        return page * _PAGE_SAMPLES + int(self._page(page)["step"].searchsorted(step, side="right")) - 1

    def find_episode(self, episode: int) -> int:
        """Return the number of the sample that holds an episode."""
        page = int(self._first_episodes.searchsorted(episode, side="right")) - 1
        return page * _PAGE_SAMPLES + int(self._page(page)["episode"].searchsorted(episode, side="right")) - 1

    def sample(self, number: int) -> np.void:
        """Return the row of a sample."""
        page, place = divmod(number, _PAGE_SAMPLES)
        return self._page(page)[place]

    def end_of(self, number: int) -> tuple[int, int]:
        """Return the step and the episode after a sample's last."""
        if number + 1 == self.num_samples:
            return self.num_transitions, self.num_episodes
        after = self.sample(number + 1)
        return int(after["step"]), int(after["episode"])

    def episodes(self, number: int) -> NDArray[np.void]:
        """Return the rows of a sample's episodes."""
        row = self.sample(number)
        first, end = int(row["episode"]), self.end_of(number)[1]
        data = self._read_rows(EPISODES, EPISODE_ROW, self.num_episodes, first, end, int(row["episodes_checksum"]))
        return np.frombuffer(data, EPISODE_ROW)

    def _page(self, page: int) -> NDArray[np.void]:
        return self._cache.get((self._files.manifest.digest, SAMPLES, page), lambda: self._read_page(page))

    def _read_page(self, page: int) -> tuple[NDArray[np.void], int]:
        first = page * _PAGE_SAMPLES
        end = min(first + _PAGE_SAMPLES, self.num_samples)
        data = self._read_rows(SAMPLES, SAMPLE_ROW, self.num_samples, first, end, int(self._checksums[page]))
        return np.frombuffer(data, SAMPLE_ROW), len(data)

    def _read_rows(self, name: str, row: np.dtype, rows: int, first: int, end: int, checksum: int) -> bytes:
        # The header of a .npy file ends where its rows begin.
        begin = self._files.path(name, check="sizes").stat().st_size - rows * row.itemsize
        return read_part(self._files, name, begin + first * row.itemsize, (end - first) * row.itemsize, checksum)
