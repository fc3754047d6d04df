from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from assets.checkpoint import checkpoint_folder
from assets.contest import champions_of
from assets.resources import Experiment, Stores
from assets.tokens import tokenizer_folder
from pipelines import experiments
from pipelines.checkpoints import make_policy, newest_checkpoint, open_checkpoint, open_tokenizer, trained_tasks_of
from storage.champions import Decision
from tasks.contest import TaskReturns
from tasks.registry import get_task

TINY = Experiment(name="tiny", tasks="dialogue/city-talks")
TASK = "dialogue/city-talks"
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def stores(tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """A project in which two checkpoints have served; the second has other bytes than the first."""
    shutil.copytree(tiny_project, tmp_path / "data")
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(experiments, "EXPERIMENTS", {**experiments.EXPERIMENTS, "tiny": TINY})
    stores = Stores(root=str(tmp_path / "data"))
    serve(stores, "first", [0.25, 0.25])
    rename(stores)
    serve(stores, "promoted", [0.75, 0.25])
    return stores


def serve(stores: Stores, outcome: str, returns: list[float]) -> None:
    store, checkpoint = champions_of(stores), checkpoint_folder(stores, TINY).open()
    result = TaskReturns(TASK, returns, [1, 2], floor=0, expert=1, evaluation="e")
    store.keep("tiny", checkpoint, tokenizer_folder(stores, TINY).open(), [asdict(result)])
    digest = checkpoint.manifest.digest
    store.decide("tiny", Decision(outcome, digest, store.read("tiny").serving, digest, "so it is"), keep=3)


def rename(stores: Stores) -> None:
    """Put a checkpoint with another recipe in the place of the newest one."""
    folder = checkpoint_folder(stores, TINY)
    files = folder.open()

    def fill(path: Path) -> dict[str, object]:
        for file in files.manifest.files:
            shutil.copy(files.path(file.path), path / file.path)
        return dict(files.manifest.metadata)

    folder.write(fill, recipe={**files.manifest.recipe, "again": True})


@pytest.fixture
def db1(monkeypatch: pytest.MonkeyPatch, run_db1: Command) -> Command:
    """Run the command; return its exit code and all that it printed."""
    monkeypatch.setenv("COLUMNS", "200")
    return run_db1


def test_the_champion_is_shown_with_its_scores_and_its_history(stores: Stores, db1: Command) -> None:
    first, second = champions_of(stores).read("tiny").line

    code, printed = db1("champion", "-e", "tiny")

    assert code == 0
    assert f"{second[:12]} serves for tiny: step 1, " in printed
    assert "1 tasks, mean 50.0 %, 100 % reach half of the expert" in printed
    assert f"kept for a rollback: {first[:12]}" in printed
    assert printed.index("promoted") < printed.index("first")


def test_a_rollback_is_one_command_and_stands_in_the_history(stores: Stores, db1: Command) -> None:
    first, second = champions_of(stores).read("tiny").line

    code, printed = db1("rollback", "-e", "tiny", "--reason", "it stumbles")

    assert code == 0
    assert f"{first[:12]} serves for tiny again, in the place of {second[:12]}: it stumbles" in printed
    assert champions_of(stores).read("tiny").serving == first
    assert "rolled back" in db1("champion", "-e", "tiny")[1]
    code, printed = db1("rollback", "-e", "tiny")
    assert code == 1
    assert "expected at least 2 to roll back" in printed


def test_without_a_champion_the_error_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db1: Command
) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path))

    code, printed = db1("champion")

    assert code == 1
    assert "db1 make champion --experiment demo" in printed


def test_where_no_checkpoint_is_chosen_the_champion_serves_and_not_the_newest(stores: Stores) -> None:
    champions_of(stores).roll_back("tiny", "it stumbles")
    rename(stores)

    name = newest_checkpoint(stores)

    assert name == "tiny@champion"
    manifest = open_checkpoint(stores, name).manifest
    assert manifest.metadata["checkpoint"] == champions_of(stores).read("tiny").serving
    assert trained_tasks_of(stores, manifest) == (TASK,)


def test_a_champion_plays_with_its_own_tokenizer_when_the_experiments_is_another(stores: Stores) -> None:
    shutil.rmtree(stores.locations.tokenizer)

    policy, has_prompt = make_policy(stores, "tiny@champion", get_task(TASK), num_slots=1, device="cpu")

    assert has_prompt
    assert policy is not None
    assert open_tokenizer(stores, "tiny@champion").size > 0
