from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numcodecs import (
    Blosc,
    blosc,  # pyright: ignore[reportAttributeAccessIssue]  # a compiled module
)
from numpy.typing import NDArray

from storage.manifest import canonical_json
from storage.tokens import TokenEpisode

Compression = Literal["blosc-zstd", "none"]

SAMPLE_BYTES = 512 << 10
EPISODE_ROW = np.dtype([("length", "<i8"), ("seed", "<i8"), ("total_return", "<f8"), ("sample", "<i8")])
SAMPLE_ROW = np.dtype(
    [("shard", "<i8"), ("tokens_at", "<i8"), ("tokens_bytes", "<i8"), ("images_at", "<i8"), ("images_bytes", "<i8")]
)
_SUFFIX = {"blosc-zstd": "blosc", "none": "bin"}


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.tar"


def pack(
    folder: Path, task: str, episodes: Iterable[TokenEpisode], *, shard_bytes: int, compression: Compression
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Write tokenized episodes into WebDataset tars, many episodes to a sample of about 512 KiB before compression.

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
        One row an episode (``EPISODE_ROW``) and one row a sample (``SAMPLE_ROW``: its shard, and where the bytes of its
        tokens and images begin in that file).
    """
    episode_rows: list[tuple[int, int, float, int]] = []
    sample_rows: list[tuple[int, int, int, int, int]] = []
    tar: tarfile.TarFile | None = None
    shard = -1
    with _one_thread():
        try:
            for number, group in enumerate(_groups(episodes)):
                parts = _encode(task, group, compression)
                size = sum(tarfile.BLOCKSIZE + len(part) + -len(part) % tarfile.BLOCKSIZE for part in parts.values())
                if tar is None or tar.offset + size > shard_bytes:
                    if tar is not None:
                        tar.close()
                    shard += 1
                    tar = tarfile.open(folder / shard_name(shard), "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
                places = {name.split(".")[0]: _add(tar, f"{number:08d}.{name}", part) for name, part in parts.items()}
                sample_rows.append((shard, *places["tokens"], *places.get("images", (0, 0))))
                episode_rows += [(len(one), one.seed, one.total_return, number) for one in group]
        finally:
            if tar is not None:
                tar.close()
    return np.array(episode_rows, dtype=EPISODE_ROW), np.array(sample_rows, dtype=SAMPLE_ROW)


def decode(data: bytes, dtype: np.dtype, compression: Compression) -> NDArray:
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


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> tuple[int, int]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o444
    at = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(info, io.BytesIO(data))
    return at, len(data)


@contextmanager
def _one_thread() -> Iterator[None]:
    # With threads Blosc lays its blocks in the order in which they happen to be done.
    before = blosc.use_threads
    blosc.use_threads = False
    try:
        yield
    finally:
        blosc.use_threads = before
