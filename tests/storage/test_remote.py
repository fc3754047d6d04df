from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import storage.remote
from storage.disk_cache import DiskCache
from storage.doctor import examine
from storage.folder import StoredFolder, stored_names
from storage.inventory import list_things
from storage.locations import Locations
from storage.manifest import MANIFEST_NAME, Manifest, ManifestError, StoredFile
from storage.remote import RemotePlace
from storage.retention import clean

pytest.importorskip("s3fs", reason="s3fs is not installed")
NAMES = [f"file-{number}" for number in range(6)]


@pytest.fixture
def root(object_store: str) -> str:
    """The URL of an empty data root in an object store."""
    return object_store


def s3() -> Any:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


def write(root: str, content: str, *, size: int = 1000) -> None:
    def fill(path: Path) -> dict:
        for name in NAMES:
            (path / name).write_text(content * size)
        return {}

    folder_at(root).write(fill, recipe={"content": content})


def folder_at(root: str) -> StoredFolder:
    return StoredFolder(f"{root}/checkpoints", "checkpoint", "demo")


def contents(root: str) -> set[str]:
    files = folder_at(root).open()
    return {files.path(name).read_text()[0] for name in NAMES}


def strays(root: str) -> list[str]:
    return [stray.name for thing in list_things(root) for stray in clean(thing, dry_run=True, min_age_s=0)]


def test_every_store_reads_from_an_object_store_what_it_reads_from_a_disk(
    root: str, tmp_path: Path, fill_root: Callable[..., None], read_root: Callable[[str, str, str], list[Any]]
) -> None:
    for place in (root, str(tmp_path / "data")):
        fill_root(place)
    here, there = list_things(str(tmp_path / "data")), list_things(root)

    assert [(thing.shelf, thing.name) for thing in there] == [(thing.shelf, thing.name) for thing in here]
    for one, other in zip(there, here, strict=True):
        assert examine(one).faults == examine(one).strays == ()
        assert one.folder.read().digest == other.folder.read().digest
        assert read_root(root, one.shelf.kind, one.name) == read_root(other.root, one.shelf.kind, one.name)
    assert stored_names(Locations(root).shards) == ["zoo/a", "zoo/b"]
    assert [thing.name for thing in list_things(f"{root}/tokens/zoo/b")] == ["zoo/b"]
    with pytest.raises(ValueError, match="is no data root"):
        list_things(root.removesuffix("/db1"))


def test_what_is_replaced_is_removed_and_equal_recipes_give_equal_digests(root: str) -> None:
    write(root, "a")
    first = folder_at(root).read()
    write(root, "b")
    write(root, "a")
    again = folder_at(root).read()

    assert (again.digest, again.files) == (first.digest, first.files)
    assert again.folder != first.folder
    assert folder_at(root).find({"content": "a"}) == again
    assert folder_at(root).find({"content": "b"}) is None
    assert strays(root) == []
    assert folder_at(root).exists
    assert not StoredFolder(f"{root}/checkpoints", "checkpoint", "other").exists


@pytest.mark.parametrize("sent", [0, 1, 4, len(NAMES)])
def test_an_interrupted_upload_leaves_the_old_thing_and_what_retention_removes(root: str, sent: int) -> None:
    write(root, "a")
    child = os.fork()
    if child == 0:
        kill_after(sent)
        write(root, "b")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    assert contents(root) == {"a"}
    assert len(strays(root)) == min(sent, 1)
    (thing,) = list_things(root)
    assert clean(thing) == []  # a writer may still be at work on it
    assert len(clean(thing, min_age_s=0)) == min(sent, 1)
    assert strays(root) == []
    write(root, "b")
    assert contents(root) == {"b"}
    assert list(DiskCache.from_environment().folder.glob("scratch/*/")) == []


def kill_after(sent: int) -> None:
    """Let so many objects through, one after another, and kill this process at the next one."""
    import s3fs

    storage.remote._FILES_AT_ONCE = 1
    put_object, number = s3fs.S3FileSystem._call_s3, 0

    async def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        nonlocal number
        if method == "put_object":
            number += 1
            if number > sent:
                os.kill(os.getpid(), signal.SIGKILL)
        return await put_object(self, method, *arguments, **options)

    s3fs.S3FileSystem._call_s3 = counted


def test_of_writers_at_once_one_wins_whole(root: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: write(root, content), "abcd"))
    (won,) = contents(root)
    for thing in list_things(root):
        clean(thing, min_age_s=0)

    assert contents(root) == {won}
    assert strays(root) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_in_an_object_store_is_named_found_and_mended(root: str, damage: str) -> None:
    write(root, "a")
    url = f"{root}/checkpoints/demo/{folder_at(root).read().folder}/{NAMES[3]}"
    content = s3().cat_file(url)
    {
        "flip": lambda: s3().pipe_file(url, b"b" + content[1:]),
        "truncate": lambda: s3().pipe_file(url, content[:-1]),
        "delete": lambda: s3().rm_file(url),
    }[damage]()

    with pytest.raises(ManifestError) as error:
        contents(root)
    assert f"checkpoint 'demo': {url} " in str(error.value)
    assert "db1 make checkpoint --experiment demo" in str(error.value)
    (thing,) = list_things(root)
    assert [url in fault for fault in examine(thing).faults] == [True]
    assert folder_at(root).find({"content": "a"}) is None
    write(root, "a")
    assert contents(root) == {"a"}


def test_a_broken_manifest_in_an_object_store_is_refused_and_replaced(root: str) -> None:
    write(root, "a")
    s3().pipe_file(f"{root}/checkpoints/demo/{MANIFEST_NAME}", b"{}")

    with pytest.raises(ManifestError, match=r"s3://.*manifest.json is broken"):
        contents(root)
    write(root, "b")
    assert contents(root) == {"b"}


def test_copies_of_what_was_used_last_stay_within_the_limit(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_CACHE_BYTES", "3500")
    write(root, "a")
    files, cache = folder_at(root).open(), DiskCache.from_environment()

    def copies() -> set[str]:
        return {path.name for path in (cache.folder / "files").rglob("*") if path.is_file()}

    for name in NAMES[:3]:
        files.path(name)
    files.path(NAMES[0])
    files.path(NAMES[3])
    assert copies() == {NAMES[0], NAMES[2], NAMES[3]}
    with files.hold(NAMES) as held:  # what is being read stays, whatever the limit
        assert [path.read_text()[0] for path in held] == ["a"] * 6
    files.path(NAMES[0])
    files.path(NAMES[1])
    files.path(NAMES[2])
    assert len(copies()) <= 6
    StoredFolder(f"{root}/checkpoints", "checkpoint", "demo").open().path(NAMES[5])
    write(root, "b")
    for name in NAMES:
        folder_at(root).open().path(name)
        assert len(copies()) <= 3 or name == NAMES[0]


def test_a_damaged_copy_is_fetched_anew(root: str) -> None:
    write(root, "a")
    for damaged in ("b" * 1000, "a"):
        folder_at(root).open().path(NAMES[0]).write_text(damaged)
        assert folder_at(root).open().path(NAMES[0]).read_text() == "a" * 1000


def test_a_copy_is_fetched_once_by_many_at_once(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "a")
    fetched: list[Path] = []
    fetch = RemotePlace._fetch

    def counted(self: RemotePlace, manifest: Manifest, file: StoredFile, path: Path) -> None:
        fetched.append(path)
        fetch(self, manifest, file, path)

    monkeypatch.setattr(RemotePlace, "_fetch", counted)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: folder_at(root).open().path(NAMES[0]).read_text()[0], range(8))) == {"a"}
    assert len(fetched) == 1


def test_a_filesystem_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)

    with pytest.raises(ValueError, match=r"gs://bucket/x/demo needs a package(.|\n)*pip install -e '.\[gs\]'"):
        StoredFolder("gs://bucket/x", "report", "demo").read()
