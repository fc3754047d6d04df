from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.resources import Progress
from db1_model.config import TrainingConfig
from pipelines import launchers
from pipelines.launchers import TorchrunLauncher

REPORT = """
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    pipes.report_asset_materialization(
        metadata={"digest": "d", "step": 2, "loss": 1.5, "world_size": 1}, data_version="d")
print("trained")
"""


class Lines(Progress):
    def say(self, line: str) -> None:
        SAID.append(line)


SAID: list[str] = []


def launch(commands: Sequence[Sequence[str]], folder: Path, *, prefix: str = "") -> dg.ExecuteInProcessResult:
    training = TrainingConfig().to_json()
    configuration: dict[str, Any] = {"training": training, "checkpoints": str(folder), "checkpoint": "x"}

    @dg.asset
    def checkpoint(context) -> dg.MaterializeResult:
        return launchers._run(commands, context, configuration, Lines(), prefixes=[prefix] * len(commands))

    return dg.materialize([checkpoint])


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_the_process_reports_becomes_the_materialization(tmp_path: Path) -> None:
    SAID.clear()

    event = launch([python(REPORT)], tmp_path).asset_materializations_for_node("checkpoint")[0]

    assert event.metadata["loss"].value == 1.5
    assert (event.tags or {})["dagster/data_version"] == "d"
    assert SAID == ["trained"]
    assert not list(tmp_path.iterdir())


def test_a_prefix_that_forwards_no_environment_as_ssh_does_not_loses_no_report(tmp_path: Path) -> None:
    events = launch([python(REPORT)], tmp_path, prefix="env -i").asset_materializations_for_node("checkpoint")

    assert events[0].metadata["loss"].value == 1.5


def test_a_process_that_reports_nothing_fails_the_asset_though_it_ended_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"without reporting its digest, loss, step, world_size.*\nall fine"):
        launch([python("print('all fine')")], tmp_path)


def test_a_process_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exit code 3.*\nout of memory"):
        launch([python("import sys; print('out of memory'); sys.exit(3)")], tmp_path)


def test_nodes_and_prefixes_must_agree(tmp_path: Path) -> None:
    launcher = TorchrunLauncher(prefixes=["", "ssh other"])
    configuration = {"training": TrainingConfig(num_nodes=1).to_json(), "checkpoints": str(tmp_path), "checkpoint": "x"}

    with pytest.raises(ValueError, match="1 nodes with 2 prefixes"):
        launcher.train(None, configuration, Progress())  # type: ignore[arg-type]


def test_when_a_node_fails_the_others_end_too(tmp_path: Path) -> None:
    fails = python("import time; time.sleep(1); raise SystemExit(4)")
    waits = python("import os, time; print(os.environ['OMP_NUM_THREADS'], flush=True); time.sleep(600)")
    SAID.clear()

    with pytest.raises(RuntimeError, match="exit code 4, -15"):
        launch([fails, waits], tmp_path)

    assert SAID == ["1"]


def test_torchrun_meets_at_a_fixed_address_and_the_first_prefix_is_rank_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    prefixes: list[str] = []

    def run(commands: list[list[str]], *_: Any, **more: Any) -> None:
        seen.extend(commands)
        prefixes.extend(more["prefixes"])

    monkeypatch.setattr(launchers, "_run", run)
    configuration = {"training": TrainingConfig(num_nodes=2).to_json(), "checkpoints": str(tmp_path), "checkpoint": "x"}
    launcher = TorchrunLauncher(prefixes=["ip netns exec a", "ip netns exec b"], address="10.77.0.1", timeout_s=30)

    launcher.train(None, configuration, Progress())  # type: ignore[arg-type]

    assert prefixes == launcher.prefixes
    for node, command in enumerate(seen):
        assert {"--master-addr=10.77.0.1", "--nnodes=2", f"--node-rank={node}"} <= set(command)
    assert json.loads((tmp_path / "x.json").read_text())["timeout_s"] == 30
