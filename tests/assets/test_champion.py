from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.checkpoint import checkpoint_folder
from assets.contest import champions_of, crown, is_decided, read_challenger, reasons_to_train
from assets.evaluation import judge_evaluation
from assets.report import report_folder
from assets.resources import Experiment, Progress, Stores
from assets.staleness import Survey
from assets.warm_start import choose_start, locate_start
from pipelines.definitions import define
from pipelines.runs import STAGES, make_stages, plan_runs
from storage.champions import ChampionStore
from storage.manifest import ManifestError

TASKS = ("control/CartPole", "control/MountainCar")


@dataclass
class Project:
    """Two tasks, a model that was trained for two steps, and whatever challenges it."""

    root: Path
    instance: dg.DagsterInstance
    experiment: Experiment

    @property
    def stores(self) -> Stores:
        return Stores(root=str(self.root))

    @property
    def champions(self) -> ChampionStore:
        return champions_of(self.stores)

    @property
    def outcomes(self) -> list[str]:
        return [decision.outcome for decision in self.champions.read("tiny").decisions]

    def make(self, *stages: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DB1_DATA", self.stores.root)
            job = define(Progress()).resolve_implicit_global_asset_job_def()
        make_stages(plan_runs(stages, TASKS), job, self.instance, self.experiment, tell=lambda *_: None)

    def challenge(self, name: str, shares: dict[str, float]) -> str:
        """Put another checkpoint into the store, with these scores; let it challenge; return its digest."""
        digest = self.train(name)
        self.evaluate(digest, shares)
        self.make("champion")
        return digest

    def train(self, name: str) -> str:
        folder = checkpoint_folder(self.stores, self.experiment)
        files = folder.open()

        def fill(path: Path) -> dict[str, Any]:
            for file in files.manifest.files:
                shutil.copy(files.path(file.path), path / file.path)
            return dict(files.manifest.metadata)

        return folder.write(fill, recipe={**files.manifest.recipe, "name": name}).digest

    def evaluate(self, checkpoint: str, shares: dict[str, float], *, more: float = 0.1) -> None:
        """Say that a checkpoint went these shares of the way from floor to expert, and so much more on later seeds."""
        store = self.stores.evaluation
        for task, share in shares.items():
            episodes = store.read(task)
            verdict, manifest = judge_evaluation(episodes.manifest), episodes.manifest
            way = verdict.expert - verdict.floor
            returns = [verdict.floor + (share + more * place) * way for place in range(len(episodes))]
            metadata = {**manifest.metadata, "returns": returns, "checkpoint": checkpoint}
            recipe = {**manifest.recipe, "checkpoint": checkpoint, "shares": share, "more": more}
            store.write(task, episodes.schema, list(episodes), recipe=recipe, metadata=metadata)

    def told(self, name: str) -> Any:
        found = self.instance.get_latest_materialization_event(dg.AssetKey(["champion"]))
        assert found is not None
        assert found.asset_materialization is not None
        return found.asset_materialization.metadata[name].value

    @property
    def last_check(self) -> dg.AssetCheckEvaluation:
        key = dg.AssetCheckKey(dg.AssetKey(["champion"]), "champion_is_rightful")
        (record,) = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.event is not None
        assert record.event.dagster_event is not None
        return record.event.dagster_event.asset_check_evaluation_data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, two_tasks: Experiment) -> Path:
    """The data of a project whose first checkpoint is evaluated, and does not serve yet; not to be changed."""
    with dg.DagsterInstance.ephemeral() as instance:
        project = Project(tmp_path_factory.mktemp("data"), instance, two_tasks)
        project.make(*(stage for stage in STAGES if stage not in ("catalogue", "champion", "report")))
        return project.root


@pytest.fixture
def project(finished: Path, tmp_path: Path, two_tasks: Experiment) -> Iterator[Project]:
    shutil.copytree(finished, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(tmp_path / "data", instance, two_tasks)


@pytest.fixture
def served(project: Project) -> Project:
    """A project whose champion goes half of the way in each task."""
    project.challenge("champion", dict.fromkeys(TASKS, 0.5))
    return project


def test_the_first_checkpoint_serves_without_a_contest_and_is_found_again(project: Project) -> None:
    project.make("champion")

    digest = checkpoint_folder(project.stores, project.experiment).read().digest
    assert project.told("outcome") == "first"
    assert project.told("serves") == project.champions.open("tiny").manifest.metadata["checkpoint"] == digest
    before = project.champions.record("tiny").read()
    project.make("champion")
    assert project.champions.record("tiny").read() == before
    assert str(project.told("work")).startswith("none: found")


def test_a_worse_challenger_does_not_serve_and_the_reason_is_told(served: Project) -> None:
    champion = served.champions.read("tiny").serving

    challenger = served.challenge("worse", {TASKS[0]: 0.9, TASKS[1]: 0.0})

    assert served.champions.read("tiny").serving == served.told("serves") == champion
    assert served.told("challenger") == challenger
    assert served.told("outcome") == "kept"
    assert "control -0.050" in served.told("reason")
    assert TASKS[1] in served.told("tasks")
    assert served.told("picture").startswith("![figure](data:image/png;base64,")
    served.make("champion")
    assert served.outcomes == ["first", "kept"]


def test_a_better_challenger_serves_and_the_check_says_so(served: Project) -> None:
    challenger = served.challenge("better", dict.fromkeys(TASKS, 0.6))

    assert served.champions.read("tiny").serving == served.told("serves") == challenger
    assert served.told("difference") == pytest.approx(0.1)
    assert served.last_check.passed
    assert (served.last_check.description or "").startswith("promoted: not worse")


def test_where_the_evaluations_do_not_tell_both_play_on_and_a_stopped_run_finds_what_was_played(
    served: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.evaluate(served.train("as good"), dict.fromkeys(TASKS, 0.6), more=-0.1)
    with monkeypatch.context() as patch:
        patch.setattr(ChampionStore, "decide", interrupt)
        with pytest.raises(OSError, match="no space left"):
            served.make("champion")
    games = served.root / "champions" / "_games"
    written = {path: path.stat().st_mtime_ns for path in games.rglob("manifest.json")}

    served.make("champion")

    assert {path: path.stat().st_mtime_ns for path in games.rglob("manifest.json")} == written
    assert served.outcomes == ["first", "promoted"]
    assert served.told("num_looks") == 4
    assert served.told("episodes_played") == len(TASKS) * 2 * (2 + 4 + 8)
    assert served.told("cpu_seconds_played") > 0
    assert "(4 looks, at up to 16 episodes a task)" in served.told("reason")
    assert served.last_check.passed
    assert (served.last_check.description or "").startswith("promoted: not worse")


def test_without_more_looks_nobody_plays_on(served: Project) -> None:
    once = replace(served, experiment=Experiment(**{**served.experiment.model_dump(), "contest": {"more_looks": 0}}))
    once.evaluate(once.train("as good"), dict.fromkeys(TASKS, 0.6), more=-0.1)

    once.make("champion")

    assert once.outcomes == ["first", "kept"]
    assert "episodes a task would tell" in once.told("reason")
    assert not (once.root / "champions" / "_games").exists()


def test_after_a_rollback_the_champion_before_serves_and_the_next_challenger_meets_it(served: Project) -> None:
    first = served.champions.read("tiny").serving
    second = served.challenge("better", dict.fromkeys(TASKS, 0.8))

    served.champions.roll_back("tiny", "it stumbles")
    served.make("champion")

    assert served.champions.read("tiny").serving == served.told("serves") == first
    assert served.told("outcome") == "rolled back"
    third = served.challenge("between", dict.fromkeys(TASKS, 0.6))
    assert served.champions.read("tiny").line == (first, third)
    assert served.outcomes == ["first", "promoted", "rolled back", "promoted"]
    assert second not in served.champions.read("tiny").line


def test_what_was_rolled_back_does_not_serve_again_under_other_rules_either(served: Project) -> None:
    served.challenge("better", dict.fromkeys(TASKS, 0.8))
    served.champions.roll_back("tiny", "it stumbles")

    other = Experiment(**{**served.experiment.model_dump(), "contest": {"draws": 500}})
    replace(served, experiment=other).make("champion")

    assert served.outcomes == ["first", "promoted", "rolled back", "kept"]
    assert "was rolled back: it stumbles" in served.told("reason")


def test_each_decision_is_in_the_report_and_makes_it_out_of_date(served: Project) -> None:
    served.make("report")
    for name, share, outcome in (("worse", 0.1, "kept"), ("better", 0.9, "promoted")):
        digest = served.challenge(name, dict.fromkeys(TASKS, share))
        assert {one.stage for one in Survey(served.stores, served.experiment).run()} >= {"report"}

        served.make("report")

        page = report_folder(served.stores, served.experiment).open().path("report.html").read_text()
        assert f"Newest decision: <b>{outcome}</b>" in page
        assert ("checkpoint serves." in page) == (served.champions.read("tiny").serving == digest)


def test_a_champion_is_up_to_date_until_another_checkpoint_is_evaluated(project: Project) -> None:
    def is_fresh() -> bool:
        return is_decided(project.stores, project.experiment, read_challenger(project.stores, project.experiment))

    assert not is_fresh()
    project.make("champion")
    assert "champion" not in {
        one.stage for one in Survey(project.stores, project.experiment).run() if one.state != "waiting"
    }
    assert is_fresh()

    project.evaluate(project.train("other"), dict.fromkeys(TASKS, 0.0))

    assert not is_fresh()
    project.make("champion")
    assert is_fresh()


def test_a_person_may_crown_what_lost_or_was_rolled_back(served: Project) -> None:
    loser = served.challenge("worse", dict.fromkeys(TASKS, 0.1))

    crown(served.stores, served.experiment, "the tasks have changed")
    served.make("champion")

    assert served.champions.read("tiny").serving == served.told("serves") == loser
    assert served.outcomes == ["first", "kept", "crowned"]


def test_a_new_task_is_listed_and_does_not_count(project: Project) -> None:
    one_task = replace(project, experiment=Experiment(**{**project.experiment.model_dump(), "tasks": TASKS[0]}))
    one_task.challenge("champion", {TASKS[0]: 0.5})

    challenger = project.challenge("with another task", {TASKS[0]: 0.5, TASKS[1]: -0.5})

    assert project.champions.read("tiny").serving == challenger
    assert project.told("tasks_apart")["new"] == [TASKS[1]]


def test_new_tasks_and_fallen_scores_are_reasons_to_train(project: Project) -> None:
    one_task = replace(project, experiment=Experiment(**{**project.experiment.model_dump(), "tasks": TASKS[0]}))
    champion = one_task.challenge("champion", {TASKS[0]: 0.5})

    assert reasons_to_train(project.stores, one_task.experiment) == {}
    assert reasons_to_train(project.stores, project.experiment)["new_tasks"] == TASKS[1]
    project.evaluate(champion, {TASKS[0]: 0.3})
    found = reasons_to_train(project.stores, one_task.experiment)
    assert found["share_at_half"] == "0.0000, the champion's is 1.0000"


def test_a_warm_start_is_the_champion_but_not_for_the_training_that_made_it(project: Project) -> None:
    warm = Experiment(
        **{**project.experiment.model_dump(), "training": {**project.experiment.training, "warm_start": "champion"}}
    )
    index = project.stores.shards.read("tiny")
    assert choose_start(project.stores, warm, index).warm_start == ""
    project.make("champion")
    assert choose_start(project.stores, warm, index).warm_start == ""

    champion = project.challenge("better", dict.fromkeys(TASKS, 2.0))

    training = choose_start(project.stores, warm, index)
    assert training.warm_start == champion
    assert locate_start(project.stores, warm, training)["name"] == f"tiny/{champion[:12]}"
    larger = Experiment(**{**warm.model_dump(), "training": {"preset": "db1-small", "warm_start": "champion"}})
    with pytest.raises(ValueError, match=r"'tiny' cannot start from its champion .* expected 8; train from scratch"):
        choose_start(project.stores, larger, index)


def test_an_evaluation_of_another_checkpoint_decides_nothing(served: Project) -> None:
    served.train("not evaluated yet")

    with pytest.raises(ManifestError, match=r"it is of checkpoint(.|\n)*db1 make evaluation control/CartPole"):
        served.make("champion")

    assert served.outcomes == ["first"]


def test_a_promotion_that_is_interrupted_leaves_the_old_champion(
    served: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = served.champions.read("tiny").serving
    served.evaluate(served.train("better"), dict.fromkeys(TASKS, 0.9))
    with monkeypatch.context() as patch:
        patch.setattr(ChampionStore, "decide", interrupt)
        with pytest.raises(OSError, match="no space left"):
            served.make("champion")
    assert served.champions.read("tiny").serving == champion
    served.champions.open("tiny").verify()

    served.make("champion")

    assert served.outcomes == ["first", "promoted"]


def interrupt(*_: object, **__: object) -> None:
    raise OSError("no space left")


def test_a_champion_with_another_byte_fails_the_check_and_one_of_another_size_the_contest(served: Project) -> None:
    served.challenge("worse", dict.fromkeys(TASKS, 0.1))
    weights = served.champions.open("tiny").path("weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(dg.DagsterError, match="champion_is_rightful"):
        served.make("champion")

    weights.write_bytes(b"x" * 100)
    served.evaluate(served.train("another"), dict.fromkeys(TASKS, 0.9))

    with pytest.raises(ValueError, match=r"cannot be read(.|\n)*db1 rollback --experiment tiny"):
        served.make("champion")


def test_what_serves_is_kept_anew_when_its_copy_is_damaged(served: Project) -> None:
    weights = served.champions.open("tiny").path("weights.safetensors")
    weights.unlink()

    served.make("champion")

    served.champions.open("tiny").verify()
