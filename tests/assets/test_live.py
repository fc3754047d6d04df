# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.live import observe_training
from db1_model.training_log import log_path, run_folder
from storage.folder import StoredFolder

STEPS = 1000
RECIPE = {"training": {"steps": STEPS}}
POLL_S = 0.01


@pytest.fixture
def folder(tmp_path: Path) -> StoredFolder:
    return StoredFolder(tmp_path, "checkpoint", "tiny")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def write_rows(folder: StoredFolder, steps: Iterable[int]) -> None:
    path = log_path(run_folder(folder, RECIPE))
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"step": step, "loss": 1 / step, "learning_rate": 1e-3, "positions_per_s": 900.0} for step in steps)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def finish(folder: StoredFolder) -> None:
    path = log_path(run_folder(folder, RECIPE))
    log = [json.loads(line) for line in path.read_text().splitlines()]
    folder.write(lambda _: {"log": log}, recipe=RECIPE)
    path.unlink()
    path.parent.rmdir()


def observed_steps(instance: dg.DagsterInstance) -> list[int]:
    records = instance.fetch_observations(dg.AssetKey("checkpoint"), limit=1000, ascending=True).records
    return [int(record.asset_observation.metadata["step"].value) for record in records if record.asset_observation]  # type: ignore[arg-type]


def run(instance: dg.DagsterInstance, folder: StoredFolder, train: Callable[[], None]) -> bool:
    @dg.asset
    def checkpoint(context: dg.AssetExecutionContext) -> None:
        with observe_training(context, folder, RECIPE, poll_s=POLL_S):
            train()

    return dg.materialize([checkpoint], instance=instance, raise_on_error=False).success


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "not within 20 seconds"
        time.sleep(POLL_S)


def test_numbers_are_observed_while_the_training_goes_on(instance: dg.DagsterInstance, folder: StoredFolder) -> None:
    def train() -> None:
        for end in (2, 3, 4):
            write_rows(folder, range(100, 100 * end, 100))
            wait_until(lambda end=end: observed_steps(instance) == list(range(100, 100 * end, 100)))

    assert run(instance, folder, train)

    event = instance.fetch_observations(dg.AssetKey("checkpoint"), limit=1).records[0].asset_observation
    assert event
    numbers = {name: event.metadata[name].value for name in ("step", "loss", "learning_rate", "positions_per_s")}
    assert numbers == {"step": 300, "loss": 1 / 300, "learning_rate": 1e-3, "positions_per_s": 900.0}


def test_a_hundred_points_are_observed_at_most_and_the_last_row_is_though_its_log_is_gone(
    instance: dg.DagsterInstance, folder: StoredFolder
) -> None:
    def train() -> None:
        write_rows(folder, range(1, STEPS + 1))
        finish(folder)

    assert run(instance, folder, train)

    steps = observed_steps(instance)
    assert 50 <= len(steps) <= 100
    assert steps[-1] == STEPS


def test_a_training_that_was_killed_and_goes_on_repeats_no_step_and_loses_none(
    instance: dg.DagsterInstance, folder: StoredFolder
) -> None:
    def fail() -> None:
        write_rows(folder, range(100, 700, 100))
        raise RuntimeError("killed")

    def go_on_from_step_400() -> None:
        write_rows(folder, range(100, 500, 100))
        time.sleep(5 * POLL_S)
        write_rows(folder, range(100, STEPS + 1, 100))
        finish(folder)

    assert not run(instance, folder, fail)
    assert run(instance, folder, go_on_from_step_400)

    assert observed_steps(instance) == list(range(100, STEPS + 1, 100))
