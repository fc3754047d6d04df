from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest

from db1_model.training_log import (
    current_log,
    follow_training_log,
    log_path,
    run_folder,
    write_csv,
    write_events,
)
from storage.folder import StoredFolder

RECIPE = {"training": {"steps": 40}}
ROWS = [{"step": step, "loss": 1 / step, "learning_rate": 1e-3} for step in (10, 20, 30, 40)]


@pytest.fixture
def folder(tmp_path: Path) -> StoredFolder:
    folder = StoredFolder(tmp_path / "checkpoints", "checkpoint", "tiny")
    run_folder(folder, RECIPE).mkdir(parents=True)
    return folder


def write_rows(run: Path, rows: list[dict[str, float]]) -> None:
    log_path(run).write_text("".join(json.dumps(row) + "\n" for row in rows))


def finish(folder: StoredFolder, run: Path) -> None:
    folder.write(lambda _: {"log": ROWS}, recipe=RECIPE)
    log_path(run).unlink()
    run.rmdir()


def test_a_log_is_found_while_a_run_trains_and_in_the_checkpoint_afterwards(folder: StoredFolder) -> None:
    run = run_folder(folder, RECIPE)
    write_rows(run, ROWS[:2])
    assert current_log(folder, run) == ROWS[:2]

    finish(folder, run)

    assert current_log(folder, run) == ROWS
    assert current_log(folder, run.with_name("another")) == []


def test_a_run_that_is_followed_shows_each_step_once_though_it_goes_on_from_an_earlier_state(
    folder: StoredFolder,
) -> None:
    run = run_folder(folder, RECIPE)
    write_rows(run, ROWS[:2])

    def go_on() -> None:
        for end in (1, 2, 3):
            time.sleep(0.1)
            write_rows(run, ROWS[:end])
        finish(folder, run)

    thread = threading.Thread(target=go_on)
    thread.start()
    rows = list(follow_training_log(folder, run, poll_s=0.01))
    thread.join()

    assert rows == ROWS


def test_a_table_has_a_head_and_a_line_a_row() -> None:
    out = io.StringIO()

    write_csv([dict(sorted(row.items())) for row in ROWS[:2]], out)

    assert out.getvalue() == "step,loss,learning_rate\n10,0.1,0.001\n20,0.05,0.001\n"


def test_tensorboards_own_reader_finds_every_number_at_its_step(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs: .venv/bin/pip install -e '.[tensorboard]' -c constraints.txt",
    )

    write_events(ROWS, tmp_path)

    events = reader.EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "learning_rate"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (row["step"], pytest.approx(row["loss"])) for row in ROWS
    ]
    with pytest.raises(FileExistsError, match="expected a folder without events"):
        write_events(ROWS, tmp_path)
