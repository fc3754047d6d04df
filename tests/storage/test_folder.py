from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.folder import StoredFolder, stored_names
from storage.manifest import ManifestError

KILLED_AT_EVERY_MOMENT = """
import os, signal, sys
from pathlib import Path
from storage.folder import StoredFolder

def folder():
    return StoredFolder(sys.argv[1], "report", "demo")

def fill(content):
    def write(path):
        for name in ("a", "b"):
            (path / name).write_text(content)
        return {}
    return write

def kill_at(moment):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event == "open" or event.startswith("os."):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

seen, moment, status = set(), 0, 1
while status != 0:
    folder().write(fill("old"), recipe={"content": "old"})
    moment += 1
    child = os.fork()
    if child == 0:
        kill_at(moment)
        folder().write(fill("new"), recipe={"content": "new"})
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    files = folder().open()
    seen.add(tuple(files.path(name).read_text() for name in ("a", "b")))
assert seen == {("old", "old"), ("new", "new")}, seen
assert moment > 20, moment
names = sorted(path.name for path in folder().path.iterdir())
assert len(names) == 3, names
"""


def make(root: Path, name: str = "demo", *, content: str = "x", recipe: str = "r", kind: str = "report") -> None:
    def fill(path: Path) -> dict:
        (path / "file").write_text(content)
        return {}

    StoredFolder(root, kind, name).write(fill, recipe={"recipe": recipe})


def test_a_writer_killed_at_any_file_operation_leaves_the_old_thing_or_the_new(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_AT_EVERY_MOMENT, str(tmp_path)], check=True)


def test_a_thing_is_found_only_by_the_recipe_that_it_was_made_from(tmp_path: Path) -> None:
    make(tmp_path, recipe="r")
    folder = StoredFolder(tmp_path, "report", "demo")

    assert folder.find({"recipe": "r"}) == folder.read()
    assert folder.find({"recipe": "s"}) is None
    assert StoredFolder(tmp_path, "report", "other").find({"recipe": "r"}) is None


def test_a_damaged_thing_is_not_found_so_that_it_is_made_anew(tmp_path: Path) -> None:
    make(tmp_path)
    folder = StoredFolder(tmp_path, "report", "demo")
    folder.open().path("file").write_text("y")

    assert folder.find({"recipe": "r"}, check="sizes") is not None
    assert folder.find({"recipe": "r"}) is None
    make(tmp_path)
    assert folder.find({"recipe": "r"}) is not None


def test_rewriting_removes_what_was_replaced(tmp_path: Path) -> None:
    for recipe in ("r", "r", "r", "s"):
        make(tmp_path, recipe=recipe)

        assert len([path for path in (tmp_path / "demo").iterdir() if path.is_dir()]) == 1


def test_a_write_that_fails_leaves_the_old_thing_alone(tmp_path: Path) -> None:
    make(tmp_path)
    folder = StoredFolder(tmp_path, "report", "demo")
    before = folder.read()

    def fail(path: Path) -> dict:
        (path / "file").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        folder.write(fail, recipe={"recipe": "s"})
    with pytest.raises(ValueError, match="expected finite JSON"):
        folder.write(lambda path: {"score": float("nan")}, recipe={"recipe": "s"})

    assert folder.read() == before
    assert sorted(path.name for path in folder.path.iterdir()) == sorted([".lock", before.folder, "manifest.json"])


def test_a_file_damaged_after_its_check_is_noticed_by_its_size(tmp_path: Path) -> None:
    make(tmp_path)
    files = StoredFolder(tmp_path, "report", "demo").open()
    files.path("file").unlink()

    with pytest.raises(ManifestError, match="file is missing"):
        files.path("file")


def test_names_of_all_complete_things_are_listed(tmp_path: Path) -> None:
    for name in ("tsp/a", "tsp/b", "demo", "demo/inside"):
        make(tmp_path, name)
    (tmp_path / "tsp" / "incomplete").mkdir()

    assert stored_names(tmp_path) == ["demo", "demo/inside", "tsp/a", "tsp/b"]
    assert stored_names(tmp_path / "absent") == []


@pytest.mark.parametrize("name", ["", "../up", "/root", "a//b", "a/", ".hidden", "a b"])
def test_a_name_that_leaves_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name report"):
        StoredFolder(tmp_path, "report", name)
