from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.doctor import examine
from storage.folder import StoredFolder
from storage.inventory import list_things
from storage.manifest import ManifestError
from storage.retention import clean


def make(root: Path, shelf: str, kind: str, name: str = "demo") -> StoredFolder:
    def fill(path: Path) -> dict:
        (path / "file").write_text("x")
        return {}

    folder = StoredFolder(root / shelf, kind, name)
    folder.write(fill, recipe={})
    return folder


def clean_all(path: Path, *, dry_run: bool = False) -> list[str]:
    return [stray.name for thing in list_things(str(path)) for stray in clean(thing, dry_run=dry_run)]


def test_things_are_listed_by_their_data_root_their_kind_or_their_own_path(
    tmp_path: Path, fill_root: Callable[..., None]
) -> None:
    fill_root(str(tmp_path))
    kinds = ["trajectories", "tokens", "shards"]

    def listed(path: str) -> list[tuple[str, str]]:
        return [(thing.shelf.kind, thing.name) for thing in list_things(f"{tmp_path}/{path}".rstrip("/"))]

    assert listed("") == [(kind, task) for kind in kinds for task in ("zoo/a", "zoo/b")] + [("shard-index", "demo")]
    assert listed("shards/") == [("shards", "zoo/a"), ("shards", "zoo/b"), ("shard-index", "demo")]
    assert listed("shards/_index") == [("shard-index", "demo")]
    assert listed("tokens/zoo") == [("tokens", "zoo/a"), ("tokens", "zoo/b")]
    assert listed("tokens/zoo/b") == [("tokens", "zoo/b")]


def test_a_path_where_nothing_is_stored_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "home").mkdir()

    with pytest.raises(ValueError, match="home is no data root"):
        list_things(str(tmp_path / "home"))
    with pytest.raises(ValueError, match="there is nothing in"):
        list_things(str(tmp_path / "tokens" / "zoo"))
    assert list_things(str(tmp_path)) == []


def test_only_what_no_manifest_refers_to_is_removed(tmp_path: Path) -> None:
    folder = make(tmp_path, "checkpoints", "checkpoint")
    manifest = folder.read()
    runs = folder.path / "runs"
    for stray in (
        folder.path / "0123456789abcdef",
        folder.path / ".partial",
        runs / manifest.key[:16],
        runs / ("f" * 16),
    ):
        stray.mkdir(parents=True)
        (stray / "left").write_text("12345")
    (folder.path / manifest.folder / "unknown").write_text("123")
    (folder.path / "notes.txt").write_text("mine")
    expected = [".partial", "0123456789abcdef", f"{manifest.folder}/unknown", f"runs/{manifest.key[:16]}"]

    assert [(stray.name, stray.bytes) for stray in examine(*list_things(str(tmp_path))).strays] == [
        (name, 3 if name.endswith("unknown") else 5) for name in expected
    ]
    assert clean_all(tmp_path, dry_run=True) == expected == clean_all(tmp_path)
    assert clean_all(tmp_path) == []
    assert folder.read() == manifest
    assert folder.open().path("file").read_text() == "x"
    assert (folder.path / "notes.txt").exists()
    assert (runs / ("f" * 16) / "left").exists()


def test_nothing_is_removed_beside_a_broken_manifest_or_a_writer_at_work(tmp_path: Path) -> None:
    folder = make(tmp_path, "report", "report")
    (folder.path / ".partial").mkdir()
    (folder.path / ".partial" / "half").write_text("x")
    with (folder.path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert clean_all(tmp_path) == []
    (folder.path / "manifest.json").write_text("{")
    assert clean_all(tmp_path) == []
    (folder.path / "manifest.json").unlink()
    assert len(clean_all(tmp_path)) == 2


def test_a_first_write_at_work_is_no_fault_and_one_that_was_stopped_is(tmp_path: Path) -> None:
    folder = make(tmp_path, "tokenizer", "tokenizer")
    (folder.path / "manifest.json").unlink()
    (thing,) = list_things(str(tmp_path))
    with (folder.path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not examine(thing).is_there
    (fault,) = examine(thing).faults
    assert fault == f"there is no {folder.path / 'manifest.json'}"
    clean(thing)
    assert not examine(thing).is_there


def test_a_fault_of_an_evaluation_names_the_command_that_plays_it_anew(tmp_path: Path) -> None:
    folder = make(tmp_path, "evaluation", "trajectories", "zoo/a")
    (folder.path / folder.read().folder / "file").unlink()
    (thing,) = list_things(str(tmp_path))

    assert "db1 make evaluation zoo/a" in str(thing.error(examine(thing).faults[0]))
    with pytest.raises(ManifestError):
        folder.read()


def test_files_that_are_as_written_but_cannot_be_opened_are_a_fault(tmp_path: Path) -> None:
    make(tmp_path, "tokens", "tokens", "zoo/a")
    (thing,) = list_things(str(tmp_path))

    assert "lists no file 'zarr.json'" in examine(thing).faults[0]
