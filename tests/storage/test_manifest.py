from __future__ import annotations

from pathlib import Path

import pytest

from storage.folder import StoredFolder
from storage.manifest import MANIFEST_NAME, Manifest, ManifestError, recipe_key


def write(root: Path, *, content: bytes = b"a tour", recipe: dict | None = None, metadata: dict | None = None) -> str:
    def fill(folder: Path) -> dict:
        (folder / "part").mkdir()
        (folder / "part" / "file").write_bytes(content)
        return metadata or {}

    return StoredFolder(root, "checkpoint", "demo").write(fill, recipe=recipe or {"steps": 3}).digest


def read(root: Path) -> Manifest:
    return StoredFolder(root, "checkpoint", "demo").read()


def test_key_of_a_recipe_is_the_digest_of_its_canonical_json() -> None:
    # printf '{"a":[1,2],"b":"ü"}' | sha256sum
    expected = "9c04f19831e7c11b870b5c52f9c47f42005d5b8f0cb95305fb4ae7e8ff23b638"
    assert recipe_key({"b": "ü", "a": (1, 2)}) == expected


def test_a_recipe_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match="expected finite JSON values"):
        recipe_key({"learning_rate": float("nan")})


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    digest = write(tmp_path / "a", metadata={"seconds": 1.5})
    manifest = read(tmp_path / "a")

    assert manifest.digest == digest
    assert [(file.path, file.bytes) for file in manifest.files] == [("part/file", 6)]
    assert (manifest.recipe, manifest.metadata, manifest.bytes) == ({"steps": 3}, {"seconds": 1.5}, 6)


def test_the_digest_depends_on_content_and_recipe_but_not_on_metadata(tmp_path: Path) -> None:
    first = write(tmp_path / "a", metadata={"seconds": 1})

    assert write(tmp_path / "b", metadata={"seconds": 2}) == first
    assert write(tmp_path / "c", content=b"another") != first
    assert write(tmp_path / "d", recipe={"steps": 4}) != first


def test_any_changed_byte_of_a_manifest_is_noticed_and_the_command_named(tmp_path: Path) -> None:
    write(tmp_path / "a", metadata={"floor": 0.25})
    path = tmp_path / "a" / "demo" / MANIFEST_NAME
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        broken = sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :]
        path.write_bytes(broken)
        with pytest.raises(ManifestError, match=r"checkpoint 'demo': (.|\n)*db1 make checkpoint --experiment demo"):
            read(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"checksum": 1}', b"\xff"])
def test_a_broken_manifest_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / "demo" / MANIFEST_NAME).write_bytes(content)

    with pytest.raises(ManifestError, match=r"checkpoint 'demo': .*manifest.json is broken"):
        read(tmp_path / "a")


def test_a_manifest_of_another_thing_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / "demo").rename(tmp_path / "a" / "large")

    with pytest.raises(ManifestError, match=r"checkpoint 'large': .* expected \('checkpoint', 'large', 1\)"):
        StoredFolder(tmp_path / "a", "checkpoint", "large").read()


def test_an_absent_thing_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"trajectories of task 'tsp/x': (.|\n)*db1 make trajectories tsp/x"):
        StoredFolder(tmp_path, "trajectories", "tsp/x").read()
