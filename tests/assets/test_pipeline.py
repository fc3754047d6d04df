from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import pytest

from assets.checkpoint import checkpoint_folder
from assets.evaluation import judge_evaluation, read_evaluation
from assets.lineage import changed_tasks
from assets.materialization import TasksFailedError
from assets.report import report_folder
from assets.resources import Experiment, Progress, Stores
from assets.staleness import Survey
from pipelines.definitions import define
from pipelines.runs import STAGES, make_stages, plan_runs
from storage.manifest import Manifest, ManifestError

Item = TypeVar("Item")
FIRST, SECOND = TASKS = ("control/CartPole", "control/MountainCar")
DIGEST_TAG = "dagster/data_version"


@dataclass
class Pipeline:
    """A small project: two tasks of four episodes, and a model that is trained for two steps."""

    root: Path
    instance: dg.DagsterInstance
    progress: Progress
    experiment: Experiment
    url: str = ""

    @property
    def stores(self) -> Stores:
        return Stores(root=self.url or str(self.root))

    @property
    def job(self) -> dg.JobDefinition:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DB1_DATA", self.stores.root)
            return define(self.progress).resolve_implicit_global_asset_job_def()

    def make(self, *stages: str) -> None:
        runs = plan_runs(stages, TASKS)
        make_stages(runs, self.job, self.instance, self.experiment, tell=lambda *_: None)

    def latest(self, asset: str, task: str | None = None) -> dg.AssetMaterialization:
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset.split("/")), asset_partitions=[task] if task else None
        )
        records = self.instance.fetch_materializations(wanted, limit=1).records
        assert records, f"{asset} {task} was not made"
        assert records[0].asset_materialization
        return records[0].asset_materialization

    def told(self, asset: str, name: str, task: str | None = None) -> Any:
        return self.latest(asset, task).metadata[name].value

    def manifests(self) -> dict[tuple[str, str | None], Manifest]:
        """Return the manifest of everything that lies on disk, by asset and task."""
        stores, name = self.stores, self.experiment.name
        of_tasks = {
            "trajectories/control": lambda task: stores.trajectories.read(task).manifest,
            "tokens/control": lambda task: stores.tokens.read(task).manifest,
            "evaluation/control": lambda task: read_evaluation(stores, task).manifest,
        }
        found: dict[tuple[str, str | None], Manifest] = {
            (asset, task): read(task) for asset, read in of_tasks.items() for task in TASKS
        }
        found["shards", None] = stores.shards.read(name).manifest
        found["checkpoint", None] = checkpoint_folder(stores, self.experiment).read()
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, two_tasks: Experiment) -> Iterator[Pipeline]:
    """A pipeline whose stages are all made; not to be changed."""
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(tmp_path_factory.mktemp("data"), instance, Progress(), two_tasks)
        pipeline.make(*STAGES)
        yield pipeline


@pytest.fixture
def copied(finished: Pipeline, tmp_path: Path) -> Iterator[Pipeline]:
    """The finished pipeline's data with an empty record of runs; it may be broken."""
    shutil.copytree(finished.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        yield replace(finished, root=tmp_path / "data", instance=instance)


def test_the_data_version_of_each_task_and_stage_is_the_digest_of_what_lies_on_disk(finished: Pipeline) -> None:
    for (asset, task), manifest in finished.manifests().items():
        assert (finished.latest(asset, task).tags or {})[DIGEST_TAG] == manifest.digest, asset
        assert finished.told(asset, "digest", task) == manifest.digest


def test_digests_lead_from_a_score_back_to_the_experts_episodes(finished: Pipeline) -> None:
    found = finished.manifests()

    for task in TASKS:
        evaluation, checkpoint = found["evaluation/control", task], found["checkpoint", None]
        assert evaluation.recipe["checkpoint"] == checkpoint.digest
        assert checkpoint.recipe["shards"] == found["shards", None].digest
        shards = finished.stores.shards.read_task(task).manifest
        assert found["shards", None].recipe["shards"][task] == shards.digest
        assert shards.recipe["tokens"] == found["tokens/control", task].digest
        assert found["tokens/control", task].recipe["trajectories"] == found["trajectories/control", task].digest


def test_training_reports_from_its_own_process_and_the_model_is_scored_by_as_many_episodes_as_asked(
    finished: Pipeline,
) -> None:
    assert finished.told("checkpoint", "step") == 2
    assert finished.told("checkpoint", "world_size") == 1
    assert finished.told("checkpoint", "training_curve").startswith("![figure](data:image/png;base64,")
    verdicts = [judge_evaluation(read_evaluation(finished.stores, task).manifest) for task in TASKS]
    assert [verdict.num_episodes for verdict in verdicts] == [2, 2]
    assert FIRST in report_folder(finished.stores, finished.experiment).open().path("report.html").read_text()


def test_made_again_everything_is_found_and_every_digest_stays(copied: Pipeline) -> None:
    before = copied.manifests()

    copied.make(*STAGES)

    assert copied.manifests() == before
    for asset, task in before:
        assert copied.told(asset, "work", task).startswith("none"), asset
    assert copied.told("report", "work").startswith("none")
    assert Survey(copied.stores, copied.experiment).run() == []


def test_deleted_data_come_back_with_equal_digests(copied: Pipeline) -> None:
    before = copied.manifests()
    for folder in ("trajectories", "tokens", "shards"):
        shutil.rmtree(copied.root / folder)

    copied.make("trajectories", "tokens", "shards")

    after = copied.manifests()
    assert {place: manifest.digest for place, manifest in after.items()} == {
        place: manifest.digest for place, manifest in before.items()
    }
    assert copied.told("trajectories/control", "work", FIRST) == "made now"
    assert copied.told("shards", "packed_now") == 2


def test_several_processes_make_what_one_does_and_a_task_that_fails_there_is_named(copied: Pipeline) -> None:
    before = {place: manifest.digest for place, manifest in copied.manifests().items()}
    several = replace(copied, experiment=Experiment(**{**copied.experiment.model_dump(), "num_processes": 2}))
    for stage in ("tokens", "evaluation"):
        shutil.rmtree(copied.root / stage)
        several.make(stage)
    assert {place: manifest.digest for place, manifest in copied.manifests().items()} == before

    shutil.rmtree(copied.root / "tokens")
    shutil.rmtree(copied.root / "trajectories" / FIRST)
    with pytest.raises(TasksFailedError, match=rf"1 of 2 tasks failed.*\n  {FIRST}: ManifestError: trajectories of"):
        several.make("tokens")
    assert copied.told("tokens/control", "work", SECOND) == "made now"


class Failing(Progress):
    def track(self, name: str, items: Iterable[Item], *, total: int, unit: str) -> Iterator[Item]:
        if name.startswith(FIRST):
            raise KeyError(f"no way on at {name}")
        return super().track(name, items, total=total, unit=unit)


def test_a_task_that_fails_is_named_and_does_not_stop_the_others(copied: Pipeline) -> None:
    shutil.rmtree(copied.root / "trajectories")
    with pytest.raises(TasksFailedError, match=f"1 of 2 tasks failed, the others are made:\n  {FIRST}: .*no way on"):
        replace(copied, progress=Failing()).make("trajectories")
    assert copied.told("trajectories/control", "work", SECOND) == "made now"

    copied.make("trajectories")

    assert copied.told("trajectories/control", "work", FIRST) == "made now"
    assert copied.told("trajectories/control", "work", SECOND).startswith("none")


def test_an_experiment_of_proven_tasks_goes_on_without_those_that_failed(tmp_path: Path, two_tasks: Experiment) -> None:
    proven = Experiment(**{**two_tasks.model_dump(), "only_proven": True, "num_evaluation_episodes": 20})
    warned: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DB1_DATA", str(tmp_path))
        pipeline = Pipeline(tmp_path, instance, Failing(), proven)
        runs = plan_runs(["trajectories", "catalogue", "tokenizer", "tokens", "shards"], TASKS)
        make_stages(runs, pipeline.job, instance, proven, tell=lambda *_: None, warn=warned.append)

        assert f"{FIRST}: KeyError" in "".join(warned)
        assert pipeline.told("catalogue", "proven") == 1
        assert list(pipeline.stores.shards.read("tiny")) == [SECOND]


def test_an_expert_no_better_than_chance_blocks_what_follows(copied: Pipeline) -> None:
    store = copied.stores.trajectories
    episodes = store.read(FIRST)
    scores = dict(episodes.manifest.metadata["reference_scores"])
    scores["expert"] = scores["expert"] | {"mean": scores["random"]["mean"]}
    metadata = dict(episodes.manifest.metadata) | {"reference_scores": scores}
    store.write(FIRST, episodes.schema, list(episodes), recipe=episodes.manifest.recipe, metadata=metadata)
    selection = [dg.AssetKey(["trajectories", "control"]), dg.AssetKey(["tokens", "control"])]
    tags = plan_runs(["tokens"], TASKS)[0].tags
    config = {"resources": {"experiment": {"config": copied.experiment.model_dump()}}}

    result = copied.job.execute_in_process(
        config, copied.instance, asset_selection=selection, tags=tags, raise_on_error=False
    )

    check = result.get_asset_check_evaluations()[0]
    assert not check.passed
    assert f"{FIRST}: the expert's mean return is" in (check.description or "")
    assert {event.asset_key for event in result.get_asset_materialization_events()} == {selection[0]}


def test_a_damaged_shard_is_refused_by_name_and_packed_anew(copied: Pipeline) -> None:
    before = copied.stores.shards.read("tiny").digest
    shard = next((copied.root / "shards").glob(f"{FIRST}/*/shard-*.tar"))
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ManifestError, match=f"(?s){FIRST}.*corrupt.*db1 make shards"):
        copied.stores.shards.read("tiny").verify()

    copied.make("shards")

    assert copied.stores.shards.read("tiny").digest == before
    assert copied.told("shards", "packed_now") == 1


def test_tokens_of_another_vocabulary_do_not_reach_the_shards(copied: Pipeline) -> None:
    other = Experiment(name="tiny", tasks=copied.experiment.tasks, training={"preset": "db1-1.2b"})

    with pytest.raises(ManifestError, match=r"(?s)another vocabulary.*db1 make tokens control/CartPole"):
        replace(copied, experiment=other).make("tokenizer", "shards")


def test_with_one_changed_task_no_file_of_another_is_rewritten(copied: Pipeline) -> None:
    store = copied.stores.trajectories
    episodes = store.read(SECOND)
    store.write(SECOND, episodes.schema, list(episodes)[:2], recipe={"episodes": 2}, metadata={})
    before, index = copied.manifests(), copied.stores.shards.read("tiny").digest
    written = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for stage in ("trajectories", "tokens", "shards")
        for path in (copied.root / stage / FIRST).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }

    copied.make("tokens", "shards")

    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in written} == written
    assert copied.told("shards", "packed_now") == 1
    after = copied.manifests()
    assert after["tokens/control", FIRST].digest == before["tokens/control", FIRST].digest
    assert after["tokens/control", SECOND].digest != before["tokens/control", SECOND].digest
    assert copied.stores.shards.read("tiny").digest != index


def test_tokens_tell_what_their_numbers_lose_and_the_checkpoint_what_each_task_got(finished: Pipeline) -> None:
    assert 0 < finished.told("tokens/control", "largest_error", FIRST) <= 1 / 1024 + 1e-6
    assert "observation" in finished.told("tokens/control", "dimensions", FIRST)
    mixture = checkpoint_folder(finished.stores, finished.experiment).read().metadata["mixture"]
    assert [(row["task"], row["requested_share"], row["windows"]) for row in mixture] == [
        (FIRST, 0.5, 2),
        (SECOND, 0.5, 2),
    ]
    assert FIRST in finished.told("checkpoint", "mixture")


def test_only_a_task_with_other_episodes_counts_as_changed(copied: Pipeline) -> None:
    store = copied.stores.trajectories
    episodes = store.read(SECOND)
    assert changed_tasks(copied.stores, copied.experiment) == {}

    changed = store.write(SECOND, episodes.schema, list(episodes)[:2], recipe={"episodes": 2}, metadata={})

    assert changed_tasks(copied.stores, copied.experiment) == {SECOND: changed.digest}


def test_the_whole_loop_in_an_object_store_makes_the_same_data(finished: Pipeline, object_store: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        remote = replace(finished, url=object_store, instance=instance)
        remote.make(*STAGES)
        found, expected = remote.manifests(), finished.manifests()

        assert {key: one.digest for key, one in found.items()} == {key: one.digest for key, one in expected.items()}
        assert FIRST in report_folder(remote.stores, remote.experiment).open().path("report.html").read_text()
        remote.make("trajectories", "report")
        assert remote.told("report", "work").startswith("none: found")
