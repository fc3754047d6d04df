from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import _local

import storage.arrays
from storage.arrays import ArrayReader, ArrayWriter
from storage.cache import ByteCache
from storage.folder import StoredFolder
from storage.manifest import Manifest


def write(root: Path, rows: np.ndarray, texts: list[str], portions: list[int]) -> Manifest:
    def fill(folder: Path) -> dict:
        writer = ArrayWriter(folder, {"made": "here"})
        for start, stop in zip([0, *portions], [*portions, len(rows)], strict=True):
            writer.append("rows", rows[start:stop])
            writer.append_text("group/texts", texts[start:stop])
        writer.close()
        return {}

    return StoredFolder(root, "tokens", "a/b").write(fill, recipe={})


@pytest.mark.parametrize("portions", [[], [1], [400, 401, 800], list(range(0, 1000, 9))])
def test_rows_in_any_portions_fill_the_same_shards(
    tmp_path: Path, portions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.arrays, "CHUNK_BYTES", 300)
    monkeypatch.setattr(storage.arrays, "SHARD_BYTES", 2500)
    monkeypatch.setattr(storage.arrays, "_MOST_SMALL", 3)
    rows = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    rows[100:400] = 0  # Chunks of zeros are written too.
    texts = ["" if i % 3 else "é" * (i % 50) for i in range(1000)]
    manifest = write(tmp_path / "a", rows, texts, portions)
    arrays = ArrayReader(StoredFolder(tmp_path / "a", "tokens", "a/b").open())

    assert sum(file.path.startswith("rows/c/") for file in manifest.files) == 5
    assert manifest.digest == write(tmp_path / "b", rows, texts, [500]).digest
    assert arrays.attributes == {"made": "here"}
    for start, stop in [(0, 1000), (0, 1), (207, 208), (199, 411), (999, 1000), (5, 5)]:
        np.testing.assert_array_equal(arrays.read("rows", start, stop), rows[start:stop])
        assert arrays.read_text("group/texts", start, stop).tolist() == texts[start:stop]


def test_a_text_without_a_single_character_comes_back(tmp_path: Path) -> None:
    write(tmp_path, np.zeros((3, 1)), ["", "", ""], [1])
    arrays = ArrayReader(StoredFolder(tmp_path, "tokens", "a/b").open())

    assert arrays.read_text("group/texts").tolist() == ["", "", ""]


def test_rows_unlike_the_first_are_refused(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path, {})
    writer.append("rows", np.zeros((2, 3)))

    with pytest.raises(ValueError, match=r"'rows' got rows float64 \(4,\), expected float64 \(3,\)"):
        writer.append("rows", np.zeros((2, 4)))


def test_a_failed_write_leaves_no_thread_behind_that_makes_the_folder_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, folder = _local._put, tmp_path / "a/b/.partial"

    def put_late(path: Path, *arguments: Any, **options: Any) -> int:
        if path == folder / "rows/zarr.json":
            raise OSError(errno.ENOSPC, "full")
        time.sleep(0.2)  # the group's own file, which is written beside it
        return put(path, *arguments, **options)

    monkeypatch.setattr(_local, "_put", put_late)
    with pytest.raises(OSError, match="full"):
        write(tmp_path, np.zeros((10, 3)), [""] * 10, [])
    time.sleep(0.4)
    assert not folder.exists()


def test_a_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    cache: ByteCache[str] = ByteCache(10)
    made = []

    def get(key: str, size: int) -> None:
        def make() -> tuple[str, int]:
            made.append(key)
            return key, size

        assert cache.get(key, make) == key

    for key, size in [("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("huge", 99), ("a", 4)]:
        get(key, size)

    assert made == ["a", "b", "c", "b", "huge", "a"]
