from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numcodecs import (
    Blosc,
    blosc,  # pyright: ignore[reportAttributeAccessIssue]  # a compiled module
)
from numpy.typing import NDArray

from storage.manifest import canonical_json
from storage.shard_tables import EPISODE_ROW, SAMPLE_ROW, checksum_of
from storage.tokens import TokenEpisode

Compression = Literal["blosc-zstd", "none"]

SAMPLE_BYTES = 128 << 10
"""What is read and decoded at once, so that samples of hundreds of tasks fit into a cache together."""
_LARGEST_SAMPLE = 2**32 - 1
_SUFFIX = {"blosc-zstd": "blosc", "none": "bin"}


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.tar"


def pack(
    folder: Path, task: str, episodes: Iterable[TokenEpisode], *, shard_bytes: int, compression: Compression
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Write tokenized episodes into WebDataset tars, many episodes to a sample of about 128 KiB before compression.

    A sample ``<number>`` is three members: ``.json`` (task, tokens a step, image shape, and the length, seed and return
    of each episode), ``.tokens.blosc`` or ``.tokens.bin`` (little-endian uint16, all steps end to end) and, for a task
    with images, ``.images.blosc`` or ``.images.bin`` (uint8). Times, owners and modes are fixed, so that equal episodes
    give equal bytes. The tars are what WebDataset's own writer makes; that one is not used since it loads torch.

    Args:
        folder: The folder that gets the shards.
        task: Id of the task.
        episodes: The episodes in the order in which they are stored; all with equal shapes of a step.
        shard_bytes: A shard larger than this holds a single sample.
        compression: ``blosc-zstd`` (level 3, bytes shuffled) or ``none``.

    Returns:
        One row an episode (``EPISODE_ROW``) and one row a sample (``SAMPLE_ROW``), as ``write_tables`` takes them.
    """
    episode_rows: list[tuple[int, int, float]] = []
    sample_rows: list[tuple[int, ...]] = []
    file: BinaryIO | None = None
    shard, at, step = -1, 0, 0
    with _one_thread():
        try:
            for number, group in enumerate(_groups(episodes)):
                data, places = _to_tar(f"{number:08d}", _encode(task, group, compression))
                if file is None or at + len(data) > shard_bytes:
                    if file is not None:
                        _finish(file, at)
                    shard, at = shard + 1, 0
                    file = (folder / shard_name(shard)).open("wb")
                rows = [(len(one), one.seed, one.total_return) for one in group]
                checksums = checksum_of(data), checksum_of(np.array(rows, EPISODE_ROW))
                where = (shard, len(data), *places["tokens"], *places.get("images", (0, 0)))
                sample_rows.append((step, len(episode_rows), at, *where, *checksums))
                file.write(data)
                at += len(data)
                step += sum(len(one) for one in group)
                episode_rows += rows
        finally:
            if file is not None:
                _finish(file, at)
    return np.array(episode_rows, dtype=EPISODE_ROW), np.array(sample_rows, dtype=SAMPLE_ROW)


def decode(data: bytes | memoryview, dtype: np.dtype, compression: Compression) -> NDArray:
    """Return the values of a member's bytes, as a read-only array of one dimension."""
    return np.frombuffer(_codec(dtype).decode(data) if compression == "blosc-zstd" else data, dtype=dtype)


def _groups(episodes: Iterable[TokenEpisode]) -> Iterator[list[TokenEpisode]]:
    group: list[TokenEpisode] = []
    size = 0
    for episode in episodes:
        group.append(episode)
        size += episode.tokens.nbytes + (0 if episode.images is None else episode.images.nbytes)
        if size >= SAMPLE_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _encode(task: str, group: list[TokenEpisode], compression: Compression) -> dict[str, bytes]:
    first, suffix = group[0], _SUFFIX[compression]
    facts = {
        "task": task,
        "step_tokens": first.tokens.shape[1],
        "image_shape": None if first.images is None else first.images.shape[1:],
        "lengths": [len(episode) for episode in group],
        "seeds": [episode.seed for episode in group],
        "total_returns": [episode.total_return for episode in group],
    }
    parts = {"json": canonical_json(facts)}
    tokens = np.concatenate([episode.tokens for episode in group]).astype("<u2", copy=False)
    parts[f"tokens.{suffix}"] = _encode_array(tokens, compression)
    images = [episode.images for episode in group if episode.images is not None]
    if images:
        parts[f"images.{suffix}"] = _encode_array(np.concatenate(images), compression)
    return dict(sorted(parts.items()))  # the order of WebDataset's writer


def _encode_array(values: NDArray, compression: Compression) -> bytes:
    return bytes(_codec(values.dtype).encode(values)) if compression == "blosc-zstd" else values.tobytes()


def _codec(dtype: np.dtype) -> Blosc:
    return Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE, typesize=dtype.itemsize)


def _to_tar(number: str, parts: dict[str, bytes]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Return the members of a sample as they stand in a tar, and where each one's bytes are there."""
    data, places = bytearray(), {}
    for name, part in parts.items():
        info = tarfile.TarInfo(f"{number}.{name}")
        info.size, info.mode = len(part), 0o444
        data += info.tobuf(tarfile.USTAR_FORMAT)
        places[name.split(".")[0]] = len(data), len(part)
        data += part + bytes(-len(part) % tarfile.BLOCKSIZE)
    if len(data) > _LARGEST_SAMPLE:
        raise ValueError(
            f"sample {number} has {len(data)} bytes; expected at most {_LARGEST_SAMPLE}: shorten the episode"
        )
    return bytes(data), places


def _finish(tar: BinaryIO, size: int) -> None:
    end = size + 2 * tarfile.BLOCKSIZE
    tar.write(bytes(end - size + -end % tarfile.RECORDSIZE))
    tar.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    # With threads Blosc lays its blocks in the order in which they happen to be done.
    before = blosc.use_threads
    blosc.use_threads = False
    try:
        yield
    finally:
        blosc.use_threads = before
