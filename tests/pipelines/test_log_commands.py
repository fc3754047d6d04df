from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from db1_model.training_log import log_path

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def root(tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(tiny_project / "checkpoints", tmp_path / "checkpoints")
    monkeypatch.setenv("DB1_DATA", str(tmp_path))
    return tmp_path


def begin_run(root: Path, name: str) -> None:
    path = log_path(root / "checkpoints/tiny/runs" / name)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"step": 7, "loss": 0.5}) + "\n")


def test_the_log_of_a_checkpoint_is_a_table(root: Path, run_db1: Command) -> None:
    code, out = run_db1("checkpoint", "log", "tiny", "--to", str(root / "log.csv"))

    assert (code, "log.csv" in out) == (0, True)
    (row,) = csv.DictReader(io.StringIO((root / "log.csv").read_text()))
    assert row["step"] == "1"
    assert float(row["loss"]) > 0


def test_of_several_trainings_the_one_that_is_not_finished_is_shown_and_others_by_their_names(
    root: Path, run_db1: Command
) -> None:
    begin_run(root, "aaaa")
    assert "step,loss\n7,0.5\n" in run_db1("checkpoint", "log", "tiny")[1]

    begin_run(root, "bbbb")
    code, out = run_db1("checkpoint", "log", "tiny")

    assert code == 1
    assert "2 trainings are not finished" in out
    assert "db1 checkpoint log tiny --run bbbb" in out
    assert "7,0.5" in run_db1("checkpoint", "log", "tiny", "--run", "bbbb")[1]
    assert "there is no training 'cccc'" in run_db1("checkpoint", "log", "tiny", "--run", "cccc")[1]


def test_where_nothing_was_trained_the_command_says_what_trains(root: Path, run_db1: Command) -> None:
    code, out = run_db1("checkpoint", "log", "demo")

    assert code == 1
    assert "db1 make checkpoint" in out
