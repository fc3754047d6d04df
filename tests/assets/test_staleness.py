from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets import shards as shards_stage
from assets.differences import Difference, compare_recipes
from assets.materialization import find_making
from assets.provenance import git_revision
from assets.resources import Experiment, Progress, Stores
from assets.staleness import Survey
from pipelines.definitions import define
from pipelines.runs import make_stages, plan_runs

FIRST, SECOND = TASKS = ("control/CartPole", "control/MountainCar")
TINY = Experiment(
    name="tiny",
    tasks=",".join(TASKS),
    num_episodes=3,
    num_evaluation_episodes=2,
    num_processes=1,
    training={"steps": 1},
)
UNTRAINED = [(stage, "missing") for stage in ("checkpoint", "evaluation", "evaluation", "champion", "report")]
Make = Callable[..., None]


@pytest.fixture(scope="module")
def records() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def make_in(records: dg.DagsterInstance) -> Callable[[Path], Make]:
    """Return what makes stages of two tasks below a data root."""

    def make_in(root: Path) -> Make:
        def make(*stages: str) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DB1_DATA", str(root))
                job = define(Progress()).resolve_implicit_global_asset_job_def()
            make_stages(plan_runs(stages, TASKS), job, records, TINY, tell=lambda *_: None)

        return make

    return make_in


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, make_in: Callable[[Path], Make]) -> Path:
    """The data of two tasks up to their shards; not to be changed."""
    root = tmp_path_factory.mktemp("data")
    make_in(root)("trajectories", "catalogue", "tokenizer", "tokens", "shards")
    return root


@pytest.fixture
def root(packed: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    shutil.copytree(packed, tmp_path / "data")
    return tmp_path / "data"


def look(root: Path, **changes: object) -> list[tuple[str, str]]:
    survey = Survey(Stores(root=str(root)), Experiment(**{**TINY.model_dump(), **changes}))
    return [(finding.stage, finding.state) for finding in survey.run()]


def test_what_is_made_is_fresh_and_what_is_not_made_yet_is_missing(packed: Path) -> None:
    assert look(packed) == UNTRAINED


def test_other_settings_make_their_stage_out_of_date_and_all_after_it_wait(packed: Path) -> None:
    found = look(packed, num_episodes=4)

    assert found[:2] == [("trajectories", "out of date")] * 2
    assert found[2:] == [
        ("catalogue", "waiting"),
        *[("tokens", "waiting")] * 2,
        *[("shards", "waiting")] * 3,
        *UNTRAINED,
    ]
    assert look(packed, compression="none")[:3] == [*[("shards", "out of date")] * 2, ("shards", "waiting")]


def test_a_task_whose_episodes_were_replaced_is_named_with_both_digests(root: Path) -> None:
    store = Stores(root=str(root)).trajectories
    episodes, used = store.read(SECOND), store.read(SECOND).manifest
    now = store.write(SECOND, episodes.schema, list(episodes)[:2], recipe=used.recipe, metadata=used.metadata)

    findings = Survey(Stores(root=str(root)), TINY).run()

    assert [(one.stage, one.name) for one in findings[:3]] == [
        ("catalogue", "tiny"),
        ("tokens", SECOND),
        ("shards", SECOND),
    ]
    tokens = findings[1]
    assert tokens.reasons == ("other trajectories",)
    assert (tokens.details[0]["was"], tokens.details[0]["now"]) == (used.digest, now.digest)


def test_other_code_and_damage_are_told_apart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_stage, "CODE_VERSION", "next")
    next((root / "shards" / SECOND).glob("*/shard-*.tar")).unlink()

    first, second, index = Survey(Stores(root=str(root)), TINY).run()[:3]

    assert (first.name, first.state, first.reasons) == (FIRST, "out of date", ("other code: code_version 3, now next",))
    assert (second.name, second.state, "is missing" in second.reasons[0]) == (SECOND, "damaged", True)
    assert (index.name, index.state) == ("tiny", "waiting")


def test_a_difference_of_recipes_is_one_of_data_code_or_configuration() -> None:
    stored = {"code_version": "1", "shards": {"tsp/a": "a" * 64, "tsp/b": "b" * 64}, "training": {"steps": 2}}
    wanted = {"code_version": "2", "shards": {"tsp/a": "c" * 64}, "training": {"steps": 4}}

    assert compare_recipes(stored, stored) == []
    assert compare_recipes(stored, wanted) == [
        Difference("code", "code_version", "1", "2"),
        Difference("input", "shards", "a" * 64, "c" * 64),
        Difference("configuration", "training.steps", 2, 4),
    ]


def test_what_is_made_tells_its_cost_and_its_code_and_what_is_found_does_not_pass_for_made(
    root: Path, records: dg.DagsterInstance, make_in: Callable[[Path], Make]
) -> None:
    shutil.rmtree(root / "tokens")
    make_in(root)("tokens")
    digest = Stores(root=str(root)).tokens.read(FIRST).manifest.digest
    made = find_making(records, ["tokens", "control"], digest, task=FIRST)
    assert made["git_revision"] == git_revision()
    assert made["packages"]["numpy"] == np.__version__
    assert made["cpu_seconds"] > 0
    assert made["seconds"] > 0

    make_in(root)("tokens")

    assert find_making(records, ["tokens", "control"], digest, task=FIRST) == made
    assert find_making(records, ["tokens", "control"], "another", task=FIRST) == {}
