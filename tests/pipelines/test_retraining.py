from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import fsspec
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.sensor_definition import SensorExecutionData
from typer.testing import CliRunner

from assets.resources import Experiment, Progress, Stores
from assets.staleness import Survey
from pipelines import experiments
from pipelines.cli import app
from pipelines.definitions import define
from pipelines.jobs import define_job
from storage.trajectories import StoredTrajectory
from tasks.exchange.exporting import export_minari

CHANGED, KEPT = TASKS = ("control/CartPole", "control/MountainCar")
Made = set[tuple[str, str | None]]


@dataclass
class Project:
    """A project on disk with Dagster's records of its own, whose job is started by sensors or by hand."""

    root: Path
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    @property
    def stores(self) -> Stores:
        return Stores(root=str(self.root / "data"))

    def look(self, sensor: str, cursor: str | None = None) -> SensorExecutionData:
        """Evaluate a sensor as the daemon does."""
        resources = {"stores": self.stores} if sensor != "inbox" else None
        context = dg.build_sensor_context(self.instance, cursor, resources=resources, definitions=self.definitions)
        return self.definitions.resolve_sensor_def(sensor).evaluate_tick(context)

    def run(self, job: str, request: dg.RunRequest | None = None, *, fails: bool = False) -> Made:
        """Do what a sensor asks for, and return the assets and tasks that were materialized by it."""
        request = request or dg.RunRequest()
        before = self.events(limit=1)
        last = before[0].storage_id if before else 0
        repository = ReconstructableRepository.for_file(__file__, "load_repository")
        wanted = repository.get_reconstructable_job(request.job_name or job)
        tags, config = dict(request.tags), request.run_config or None
        with dg.execute_job(wanted, self.instance, config, tags=tags, raise_on_error=not fails) as done:
            assert done.success != fails
        made = [record.asset_materialization for record in self.events() if record.storage_id > last]
        return {(one.asset_key.to_user_string(), one.partition) for one in made if one}

    def events(self, limit: int = 1000) -> list[dg.EventLogRecord]:
        records = [
            record
            for key in self.instance.all_asset_keys()
            for record in self.instance.fetch_materializations(key, limit=limit).records
        ]
        return sorted(records, key=lambda record: -record.storage_id)

    def files(self) -> dict[Path, tuple[int, int]]:
        """Return inode and time of every file that holds data."""
        found = (path for path in (self.root / "data").rglob("*") if path.is_file() and path.name[0] != ".")
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    def export(self, num_episodes: int, folder: Path) -> Path:
        """Write the first episodes of the task that is going to change as somebody else's data set."""
        stored = self.stores.trajectories.read(CHANGED)
        return export_minari(FirstEpisodes(stored, num_episodes), folder)  # pyright: ignore[reportArgumentType]


class FirstEpisodes:
    def __init__(self, stored: StoredTrajectory, number: int) -> None:
        self.manifest, self.schema, self._stored, self._number = stored.manifest, stored.schema, stored, number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, place: int) -> object:
        if place >= self._number:
            raise IndexError(place)
        return self._stored[place]


def load_repository() -> dg.RepositoryDefinition:
    return define(Progress(), [define_job("tiny", "")]).get_repository_def()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, two_tasks: Experiment) -> Iterator[Project]:
    """A project of two tasks, whose job made everything; the tests change one task's episodes, each in its way."""
    root = tmp_path_factory.mktemp("project")
    (root / ".dagster").mkdir()
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.local_temp(str(root / ".dagster")) as instance:
        patch.setenv("DB1_DATA", str(root / "data"))
        patch.setattr(experiments, "EXPERIMENTS", {**experiments.EXPERIMENTS, "tiny": two_tasks})
        project = Project(root, instance, define(Progress(), [define_job("tiny", "")]))
        project.run("tiny")
        yield project


def test_retraining_after_one_tasks_data_changed_touches_no_other_tasks_data(
    project: Project, tmp_path: Path, two_tasks: Experiment
) -> None:
    assert not project.look("new_data").run_requests
    source = project.export(3, tmp_path / "others")
    before = project.files()
    done = CliRunner().invoke(app, ["import", str(source), "--as", CHANGED, "--format", "minari", "--replace"])
    assert done.exit_code == 0, done.output

    (request,) = project.look("new_data").run_requests or []
    made = project.run("tiny", request)

    assert request.tags["db1/changed_tasks"] == CHANGED
    of_family = {("evaluation/control", task) for task in TASKS}
    of_task = {("trajectories/control", CHANGED), ("tokens/control", CHANGED)}
    of_all = {(stage, None) for stage in ("catalogue", "shards", "checkpoint", "champion", "report")}
    assert made == of_task | of_all | of_family
    after = project.files()
    kept = [path for path in before if KEPT in str(path) and "/evaluation/" not in str(path)]
    assert {path.relative_to(project.root / "data").parts[0] for path in kept} == {"trajectories", "tokens", "shards"}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert not project.look("new_data").run_requests
    assert Survey(project.stores, two_tasks).run() == []
    assert project.run("tiny") == set()


@pytest.mark.parametrize(("where", "num_episodes"), [("folder", 2), ("memory://inbox", 1)])
def test_data_put_into_the_inbox_are_imported_and_retrained_on_whatever_else_lies_there(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, num_episodes: int
) -> None:
    inbox = str(tmp_path / "inbox") if where == "folder" else f"{where}{tmp_path}"
    monkeypatch.setenv("DB1_INBOX", inbox)
    monkeypatch.setenv("DB1_CACHE", str(tmp_path / "cache"))
    files, root = fsspec.core.url_to_fs(inbox, auto_mkdir=True)
    files.put(f"{project.export(num_episodes, tmp_path / 'others')}/", f"{root}/{CHANGED}/minari/", recursive=True)
    files.pipe(f"{root}/{KEPT}/d4rl/broken.hdf5", b"no HDF5")
    files.pipe(f"{root}/control/NoSuchTask/d4rl/episodes.hdf5", b"")
    first = project.look("inbox")
    assert not first.run_requests

    requests = project.look("inbox", first.cursor).run_requests or []
    for request in requests:
        project.run("import_inbox", request, fails=KEPT in str(request.run_key))

    assert {request.tags["db1/inbox"] for request in requests} == {f"{CHANGED}/minari", f"{KEPT}/d4rl"}
    told = project.look("inbox", first.cursor)
    assert not told.run_requests
    words = dict(line.split(": ", 1) for line in str(told.skip_message).splitlines() if ": " in line)
    assert words[f"{CHANGED}/minari"] == "imported"
    assert words[f"{KEPT}/d4rl"].startswith("not imported: tasks.exchange.foreign.ForeignDataError")
    assert "no readable HDF5" in words[f"{KEPT}/d4rl"]
    assert words["control/NoSuchTask/d4rl"].startswith("not imported: ")
    (retraining,) = project.look("new_data").run_requests or []
    assert retraining.tags["db1/changed_tasks"] == CHANGED
