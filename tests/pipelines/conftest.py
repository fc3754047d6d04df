from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets.resources import Experiment, Progress
from pipelines.cli import main
from pipelines.definitions import define
from pipelines.runs import make_stages, plan_runs

TINY = Experiment(
    name="tiny",
    tasks="tsp/tsp100-city-3,captions/rooms-1,dialogue/city-talks",
    tour_tier="fast",
    num_episodes=4,
    num_evaluation_episodes=1,
    num_processes=1,
    training={"steps": 1, "batch_windows": 3, "warmup_steps": 0},
)


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def run_db1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command; return its exit code and all that it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["db1", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out + captured.err

    return run


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a project whose model was trained for one step on tours, captions and talks; not to be changed."""
    root = tmp_path_factory.mktemp("tiny")
    stages = ("trajectories", "tokenizer", "tokens", "shards", "checkpoint")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("DB1_DATA", str(root))
        job = define(Progress()).resolve_implicit_global_asset_job_def()
        make_stages(plan_runs(stages, TINY.task_ids), job, instance, TINY, tell=lambda *_: None)
    return root
