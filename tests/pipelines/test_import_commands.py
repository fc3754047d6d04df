from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from assets.resources import Experiment, Progress, Stores
from pipelines import cli
from pipelines.definitions import define
from pipelines.runs import make_stages, plan_runs
from storage.manifest import Manifest
from storage.trajectories import TrajectoryStore
from tasks.exchange import importing
from tasks.policies import ExpertPolicy
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.task import schema_of

pytest.importorskip("minari")

TASK = get_task("control/MountainCar")
TINY = Experiment(name="tiny", tasks=TASK.id, num_episodes=2, num_evaluation_episodes=2, num_processes=1)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrajectoryStore:
    """Six episodes of the expert, the last of which was paid less, in a project where ``DB1_DATA`` points."""
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    random = {"mean": -200.0, "returns": [-200.0] * 20, "seeds": list(range(20))}
    monkeypatch.setattr(importing, "measure_reference_scores", lambda *_, **__: {"random": random})
    store = TrajectoryStore(str(tmp_path / "data" / "trajectories"))
    episodes = list(roll_out(TASK, ExpertPolicy(TASK.make_expert), range(6), num_slots=2))
    episodes[-1] = replace(episodes[-1], rewards=episodes[-1].rewards * 1.7)
    facts = {"reference_scores": {"random": random, "expert": random}, "floor": "random", "expert_route": "script"}
    store.write(TASK.id, schema_of(TASK), episodes, recipe={"by": "hand"}, metadata=facts)
    return store


@pytest.fixture
def imported(store: TrajectoryStore, tmp_path: Path) -> Manifest:
    """The same episodes, exported and imported in their own place."""
    assert run("export", TASK.id, "--to", str(tmp_path / "out"))[0] == 0
    source = str(tmp_path / "out" / "db1" / "control" / "MountainCar-v0")
    assert run("import", source, "--as", TASK.id, "--format", "minari", "--replace")[0] == 0
    return store.read(TASK.id).manifest


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, arguments)
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def make(experiment: Experiment, *stages: str, root: Path) -> list[dg.AssetMaterialization]:
    """Make stages, and return what the last one says of the task."""
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DB1_DATA", str(root))
        job = define(Progress()).resolve_implicit_global_asset_job_def()
        make_stages(plan_runs(stages, [TASK.id]), job, instance, experiment, tell=lambda *_: None)
        key = dg.AssetKey([stages[-1], "control"])
        records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=1).records
        return [record.asset_materialization for record in records if record.asset_materialization]


def test_what_is_exported_and_imported_is_told_and_listed_as_imported(store: TrajectoryStore, tmp_path: Path) -> None:
    before = list(store.read(TASK.id))
    code, told = run("export", TASK.id, "--to", str(tmp_path / "out"))
    assert (code, "6 episodes" in told, "minari show db1/control/MountainCar-v0" in told) == (0, True, True)
    source = ("import", str(tmp_path / "out" / "db1" / "control" / "MountainCar-v0"), "--as", TASK.id, "--format")

    code, told = run(*source, "minari")
    assert (code, "add --replace" in told) == (1, True)
    code, told = run(*source, "minari", "--replace", "--limit", "5")
    assert code == 0
    assert "5 episodes" in told
    assert "not proven to be an expert's: 5 episodes of the expert or random" in told
    assert "stored before" in run(*source, "minari", "--limit", "5")[1]

    after = list(store.read(TASK.id))
    assert [one.seed for one in after] == [one.seed for one in before[:5]]
    assert all(np.array_equal(mine.actions, yours.actions) for mine, yours in zip(after, before, strict=False))
    listed = run("tasks", TASK.id, "--json")[1]
    assert '"expert_route": "imported"' in listed
    code, told = run(*source, "csv")
    assert (code, "unknown format 'csv'" in told) == (1, True)
    code, told = run("export", TASK.id, "--to", str(tmp_path), "--format", "d4rl")
    assert (code, "expected one of minari" in told) == (1, True)


def test_imported_episodes_stay_until_they_are_to_be_replaced(
    imported: Manifest, store: TrajectoryStore, tmp_path: Path
) -> None:
    (made,) = make(TINY, "trajectories", root=tmp_path / "data")
    assert store.read(TASK.id).manifest == imported
    assert made.metadata["expert_route"].value == "imported"

    (made,) = make(
        Experiment(**{**TINY.model_dump(), "replace_imported": True}), "trajectories", root=tmp_path / "data"
    )
    assert made.metadata["expert_route"].value == "script"
    assert len(store.read(TASK.id)) == 2


def test_the_option_reaches_the_experiment(imported: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cli, "_make", lambda runs, experiment: asked.append((runs, experiment.replace_imported)))

    run("make", "trajectories", TASK.id)
    run("make", "trajectories", TASK.id, "--replace-imported")

    assert [replaced for _, replaced in asked] == [False, True]
    assert asked[0][0] == asked[1][0] == plan_runs(["trajectories"], [TASK.id])


def test_only_good_episodes_become_tokens_and_the_check_of_tokens_knows(imported: Manifest, tmp_path: Path) -> None:
    stores = Stores(root=str(tmp_path / "data"))
    (made,) = make(TINY, "tokenizer", "tokens", root=tmp_path / "data")
    whole = stores.tokens.read(TASK.id).manifest
    assert "episodes_kept" not in made.metadata
    assert "minimum_return_share" not in whole.recipe

    strict = Experiment(**{**TINY.model_dump(), "minimum_return_share": 0.8})
    (made,) = make(strict, "tokens", root=tmp_path / "data")

    told = {name: made.metadata[name].value for name in ("episodes_kept", "episodes_dropped")}
    tokens = stores.tokens.read(TASK.id)
    assert told == {"episodes_kept": 5, "episodes_dropped": 1}
    assert len(tokens) == 5
    assert tokens.manifest.recipe["minimum_return_share"] == 0.8
    assert tokens.manifest.digest != whole.digest
    assert len(stores.trajectories.read(TASK.id)) == 6
