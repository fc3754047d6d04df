from __future__ import annotations

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


def launch(commands: Sequence[Sequence[str]]) -> dg.ExecuteInProcessResult:
    configuration: dict[str, Any] = {"training": TrainingConfig().to_json()}

    @dg.asset
    def checkpoint(context) -> dg.MaterializeResult:
        return launchers._run(commands, context, configuration, Lines())

    return dg.materialize([checkpoint])


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_the_process_reports_becomes_the_materialization() -> None:
    SAID.clear()

    event = launch([python(REPORT)]).asset_materializations_for_node("checkpoint")[0]

    assert event.metadata["loss"].value == 1.5
    assert (event.tags or {})["dagster/data_version"] == "d"
    assert SAID == ["trained"]


def test_a_process_that_reports_nothing_fails_the_asset_though_it_ended_well() -> None:
    with pytest.raises(RuntimeError, match=r"without reporting its digest, loss, step, world_size.*\nall fine"):
        launch([python("print('all fine')")])


def test_a_process_that_fails_shows_its_last_lines() -> None:
    with pytest.raises(RuntimeError, match=r"exit code 3.*\nout of memory"):
        launch([python("import sys; print('out of memory'); sys.exit(3)")])


def test_nodes_and_prefixes_must_agree(tmp_path: Path) -> None:
    launcher = TorchrunLauncher(prefixes=["", "ssh other"])
    configuration = {"training": TrainingConfig(num_nodes=1).to_json(), "checkpoints": str(tmp_path), "checkpoint": "x"}

    with pytest.raises(ValueError, match="1 nodes with 2 prefixes"):
        launcher.train(None, configuration, Progress())  # type: ignore[arg-type]


def test_torchrun_meets_at_a_fixed_address_and_the_first_prefix_is_rank_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(launchers, "_run", lambda commands, *_: seen.extend(commands))
    configuration = {"training": TrainingConfig(num_nodes=2).to_json(), "checkpoints": str(tmp_path), "checkpoint": "x"}
    launcher = TorchrunLauncher(prefixes=["ip netns exec a", "ip netns exec b"], address="10.77.0.1")

    launcher.train(None, configuration, Progress())  # type: ignore[arg-type]

    assert [command[:4] for command in seen] == [["ip", "netns", "exec", "a"], ["ip", "netns", "exec", "b"]]
    for node, command in enumerate(seen):
        assert {"--master-addr=10.77.0.1", "--nnodes=2", f"--node-rank={node}"} <= set(command)
