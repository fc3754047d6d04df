from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath

from storage.folder import StoredFiles

CHUNK_BYTES = 1 << 20
SHARD_BYTES = 128 << 20
_MOST_SMALL = 1024  # portions of rows that wait one by one: each takes some 100 bytes beside its rows


class ArrayWriter:
    """Appends rows to named arrays of one Zarr v3 group, holding a few shards of each array in memory at most.

    Chunks of about 1 MiB, compressed with Blosc (Zstandard, level 3, bytes shuffled) and followed by a CRC-32C, lie in
    shards of at most 128 MiB. Equal rows, appended in any portions, give equal bytes. Text is a group of two arrays:
    its UTF-8 bytes end to end, and where each string ends.

    Args:
        folder: An empty folder that becomes the group.
        attributes: JSON values that are stored with the group.
    """

    def __init__(self, folder: Path, attributes: Mapping[str, Any]) -> None:
        self._group = zarr.create_group(folder, zarr_format=3, attributes=dict(attributes))
        self._columns: dict[str, _Column] = {}
        self._text_ends: dict[str, int] = {}

    def append(self, name: str, rows: NDArray[Any]) -> None:
        """Add rows, shape (rows, *row shape), to an array; the first call fixes its dtype and the shape of a row."""
        if name not in self._columns:
            if "/" in name:
                with _settled():
                    self._group.require_group(name.rsplit("/", 1)[0])
            self._columns[name] = _Column(self._group, name, rows.dtype, rows.shape[1:])
        self._columns[name].append(rows)

    def append_text(self, name: str, texts: Iterable[str]) -> None:
        """Add strings to a text."""
        encoded = [text.encode() for text in texts]
        ends = self._text_ends.get(name, 0) + np.cumsum([len(text) for text in encoded], dtype=np.int64)
        self._text_ends[name] = int(ends[-1]) if len(ends) else self._text_ends.get(name, 0)
        self.append(f"{name}/ends", ends)
        self.append(f"{name}/utf8", np.frombuffer(b"".join(encoded), dtype=np.uint8))

    def close(self) -> None:
        """Write what is still in memory."""
        for column in self._columns.values():
            column.close()


class ArrayReader:
    """Reads rows of the arrays that an ``ArrayWriter`` wrote.

    Every file is compared with its digest before it is first read: Zarr itself takes a missing file for zeros.

    Args:
        files: The files of the group.

    Raises:
        ManifestError: If a file is missing or damaged; the same holds for every method.
    """

    def __init__(self, files: StoredFiles) -> None:
        self._files = files
        self._arrays: dict[str, zarr.Array[Any]] = {}
        with files.hold(["zarr.json"]) as (path,):
            self.attributes: Mapping[str, Any] = json.loads(path.read_bytes())["attributes"]

    def num_rows(self, name: str) -> int:
        """Return the number of rows of an array."""
        return self._open(name).shape[0]

    def check_rows(self, expected: Mapping[str, int]) -> None:
        """Compare the numbers of rows of arrays with what they ought to be.

        Raises:
            ManifestError: If one differs.
        """
        for name, rows in expected.items():
            if (found := self.num_rows(name)) != rows:
                raise self._files.error(f"its array {name!r} has {found} rows, expected {rows}")

    def row_bytes(self, name: str) -> int:
        """Return the size of one row of an array in memory."""
        array = self._open(name)
        return array.dtype.itemsize * math.prod(array.shape[1:])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return rows ``start..stop - 1`` of an array (all from ``start`` when ``stop`` is None)."""
        array = self._open(name)
        stop = array.shape[0] if stop is None else stop
        shard_rows = (array.shards or array.chunks)[0]
        shards = range(start // shard_rows, -(-stop // shard_rows))
        paths = ["/".join([name, "c", str(shard)] + ["0"] * (array.ndim - 1)) for shard in shards]
        with self._files.hold(paths):
            return np.asarray(array[start:stop])

    def read_text(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.object_]:
        """Return strings ``start..stop - 1`` of a text, as an array of objects."""
        ends = self.read(f"{name}/ends", max(start - 1, 0), stop)
        bounds = np.concatenate([[0], ends]) if start == 0 else ends
        utf8 = self.read(f"{name}/utf8", int(bounds[0]), int(bounds[-1])).tobytes()
        texts = np.empty(len(bounds) - 1, dtype=object)
        last_bytes, last_text = b"", ""
        for i, (begin, end) in enumerate(zip(bounds[:-1] - bounds[0], bounds[1:] - bounds[0], strict=True)):
            if utf8[begin:end] != last_bytes:  # Most texts stay the same from step to step.
                last_bytes = utf8[begin:end]
                last_text = last_bytes.decode()
            texts[i] = last_text
        return texts

    def _open(self, name: str) -> zarr.Array[Any]:
        if name not in self._arrays:
            with self._files.hold([f"{name}/zarr.json"]) as (path,):  # a quarter of the time of zarr.open_array
                store = StorePath(LocalStore(path.parent, read_only=True))
                self._arrays[name] = zarr.Array.from_dict(store, json.loads(path.read_bytes()))
        return self._arrays[name]


@contextmanager
def _settled() -> Iterator[None]:
    """Let an error pass only when nothing writes any more.

    Zarr writes in threads. When one fails, those beside it would still make their files, in a folder that may be gone.
    """
    try:
        yield
    except BaseException:
        sync(_finish_writes())
        raise


async def _finish_writes() -> None:
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


class _Column:
    """One array while it grows: rows wait in memory until they fill a shard, or until the end."""

    def __init__(self, group: zarr.Group, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self._group, self._name, self._dtype, self._row_shape = group, name, dtype, row_shape
        row_bytes = dtype.itemsize * math.prod(row_shape)
        self._chunk_rows = max(1, CHUNK_BYTES // row_bytes)
        self._shard_rows = self._chunk_rows * max(1, SHARD_BYTES // (self._chunk_rows * row_bytes))
        self._array: zarr.Array[Any] | None = None
        self._waiting: list[NDArray[Any]] = []
        self._num_waiting = self._num_written = self._num_joined = 0

    def append(self, rows: NDArray[Any]) -> None:
        if rows.dtype != self._dtype or rows.shape[1:] != self._row_shape:
            raise ValueError(
                f"array {self._name!r} got rows {rows.dtype} {rows.shape[1:]}, expected {self._dtype} {self._row_shape}"
            )
        self._waiting.append(rows)
        self._num_waiting += len(rows)
        if len(self._waiting) - self._num_joined > _MOST_SMALL:
            self._waiting[self._num_joined :] = [np.concatenate(self._waiting[self._num_joined :])]
            self._num_joined += 1
        if self._num_waiting >= self._shard_rows:
            self._write(self._num_waiting - self._num_waiting % self._shard_rows)

    def close(self) -> None:
        self._write(self._num_waiting)

    def _write(self, num_rows: int) -> None:
        rows, self._waiting = np.concatenate(self._waiting), []
        stop = self._num_written + num_rows
        with _settled():
            if self._array is None:
                self._array = self._create(num_rows)
            elif num_rows:
                self._array.resize((stop, *self._row_shape))
            for start in range(0, num_rows, self._shard_rows):
                part = rows[start : min(start + self._shard_rows, num_rows)]
                self._array[self._num_written + start : self._num_written + start + len(part)] = part
        self._waiting, self._num_waiting, self._num_written = [rows[num_rows:].copy()], len(rows) - num_rows, stop
        self._num_joined = 1

    def _create(self, num_rows: int) -> zarr.Array[Any]:
        chunk_rows = max(1, min(self._chunk_rows, num_rows))
        shard_rows = max(1, min(self._shard_rows, -(-num_rows // chunk_rows) * chunk_rows))
        return self._group.create_array(
            self._name,
            shape=(num_rows, *self._row_shape),
            dtype=self._dtype,
            chunks=(chunk_rows, *self._row_shape),
            shards=(shard_rows, *self._row_shape),
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
            fill_value=0,
            config={"write_empty_chunks": True},  # A missing file is then always a fault.
        )
