from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.doctor import examine
from storage.inventory import Thing, list_things
from storage.manifest import MANIFEST_NAME, ManifestError, making_command

TRIALS = 200


def flip(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    path = draw.choice(files_of(thing))
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    path.write_bytes(content)
    return [path]


def truncate(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    path = draw.choice(files_of(thing))
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    return [path]


def delete(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    path = draw.choice(files_of(thing))
    path.unlink()
    return [path]


def swap(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    first, second = draw.sample(files_of(thing), 2)
    if first.read_bytes() == second.read_bytes():
        return swap(thing, older, draw)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return [first, second]


def put_old_manifest_back(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    shutil.copy(older / MANIFEST_NAME, thing / MANIFEST_NAME)
    return [thing]


def leave_half_written(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    data = [path for path in files_of(thing) if path.name != MANIFEST_NAME]
    for path in (thing / MANIFEST_NAME, *draw.sample(data, draw.randrange(len(data)))):
        path.unlink()
    return [thing / MANIFEST_NAME]


def interrupt_upload(thing: Path, older: Path, draw: random.Random) -> list[Path]:
    missing = [path for path in files_of(thing) if path.name != MANIFEST_NAME]
    missing = missing[draw.randrange(len(missing)) :]
    for path in missing:
        path.unlink()
    return missing


FAULTS = (flip, truncate, delete, swap, put_old_manifest_back, leave_half_written, interrupt_upload)


def files_of(thing: Path) -> list[Path]:
    return sorted(path for path in thing.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.fixture
def trees(tmp_path: Path, fill_root: Callable[..., None]) -> tuple[Path, Path]:
    """A sound data root, and what it was before everything in it was made anew."""
    fill_root(str(tmp_path / "data"), version=0)
    shutil.copytree(tmp_path / "data", tmp_path / "older")
    fill_root(str(tmp_path / "data"), version=1)
    return tmp_path / "data", tmp_path / "older"


def test_every_damage_is_named_with_its_file_task_and_command_and_nothing_is_read_silently(
    trees: tuple[Path, Path], read_root: Callable[[str, str, str], list[Any]]
) -> None:
    root, older = trees
    things = list_things(str(root))
    sound = {thing: read_root(str(root), thing.shelf.kind, thing.name) for thing in things}
    draw, seen = random.Random(0), set()
    assert all(not examine(thing).faults for thing in things)
    for trial in range(TRIALS):
        thing, cause = draw.choice(things), FAULTS[trial % len(FAULTS)]
        folder = thing.folder.path
        shutil.copytree(folder, root.parent / "kept")
        damaged = cause(folder, older / folder.relative_to(root), draw)

        told = [str(thing.error(fault)) for fault in examine(thing).faults]
        assert any(str(path) in line for path in damaged for line in told), (trial, cause.__name__, damaged, told)
        assert_named(told[0], thing)
        refused, found = read(lambda thing=thing: read_root(str(root), thing.shelf.kind, thing.name))
        if refused:
            assert any(str(path) in refused for path in damaged), (trial, cause.__name__, damaged, refused)
            assert_named(refused, thing)
        else:
            assert found == sound[thing], (trial, cause.__name__, damaged)  # what was damaged is not needed to read

        seen.add((thing.shelf.kind, cause))
        shutil.rmtree(folder)
        (root.parent / "kept").rename(folder)
    assert len(seen) == 4 * len(FAULTS)
    assert all(not examine(thing).faults for thing in things)


def test_shards_that_were_put_back_are_told_apart_by_their_index(trees: tuple[Path, Path]) -> None:
    root, older = trees
    shutil.rmtree(root / "shards" / "zoo" / "b")
    shutil.copytree(older / "shards" / "zoo" / "b", root / "shards" / "zoo" / "b")
    faults = {thing.name: examine(thing).faults for thing in list_things(str(root / "shards"))}

    assert faults["zoo/a"] == faults["zoo/b"] == ()
    assert "the shards of task 'zoo/b' changed" in faults["demo"][0]


def read(everything: Callable[[], list[Any]]) -> tuple[str, list[Any]]:
    try:
        return "", everything()
    except ManifestError as error:
        return str(error), []


def assert_named(message: str, thing: Thing) -> None:
    assert repr(thing.name) in message
    assert making_command(thing.shelf.made_as, thing.name) in message
