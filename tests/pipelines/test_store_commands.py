from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from storage.folder import StoredFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredFolder:
    """A tokenizer in an otherwise empty data root, where ``DB1_DATA`` points."""
    monkeypatch.setenv("DB1_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    folder = StoredFolder(tmp_path / "tokenizer", "tokenizer", "demo")

    def fill(path: Path) -> dict:
        (path / "tokenizer.json").write_text("{}")
        return {}

    folder.write(fill, recipe={})
    return folder


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_the_doctor_names_what_is_damaged_and_the_command_that_mends_it(folder: StoredFolder) -> None:
    assert run("doctor") == run("doctor", str(folder.path))
    code, told = run("doctor")
    assert (code, "all 1 are sound" in told) == (0, True)
    damaged = folder.path / folder.read().folder / "tokenizer.json"
    damaged.write_text("[]")

    code, told = run("doctor")
    assert code == 1
    assert f"{damaged} is corrupt" in told
    assert "tokenizer 'demo'" in told
    assert "db1 make tokenizer --experiment demo" in told
    assert run("doctor", "--quick")[0] == 0
    damaged.unlink()
    assert run("doctor", "--quick")[0] == 1


def test_what_no_manifest_refers_to_is_told_and_removed(folder: StoredFolder) -> None:
    stray = folder.path / "0123456789abcdef"
    stray.mkdir()
    (stray / "left").write_text("12345")

    code, told = run("doctor")
    assert (code, "5 bytes in 1 place" in told, "db1 clean" in told) == (0, True, True)
    assert "5 bytes in 1 place would be removed" in run("clean", "--dry-run")[1]
    assert str(stray) in run("clean")[1]
    assert not stray.exists()
    assert run("clean") == (0, "nothing to remove\n")
