from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.resources import Launcher, Progress
from db1_model.config import TrainingConfig
from pipelines import launchers
from pipelines.definitions import define
from pipelines.kubernetes import KubernetesLauncher
from pipelines.launcher_choice import ChosenLauncher
from pipelines.launchers import ProcessLauncher, TorchrunLauncher, wait_for_job
from pipelines.slurm import SlurmLauncher

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


def test_a_line_that_a_job_is_still_writing_is_told_when_it_is_whole(tmp_path: Path) -> None:
    SAID.clear()
    log, last_lines = tmp_path / "log", deque[str]()
    looks = iter([("going on fr", "runs"), ("om step 5\nkil", "runs"), ("led", "runs"), ("", "failed")])

    def look() -> str:
        written, state = next(looks)
        with log.open("a") as file:
            file.write(written)
        return state

    assert wait_for_job(look, {"failed"}, log, Lines(), last_lines, poll_s=0, see="") == "failed"

    assert SAID == ["going on from step 5", "killed"]
    assert "".join(last_lines) == log.read_text()


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


CHOICES: list[tuple[dict[str, Any], Launcher]] = [
    ({"kind": "local"}, ProcessLauncher()),
    ({"kind": "nodes", "prefixes": ["", "ssh b"]}, TorchrunLauncher(prefixes=["", "ssh b"])),
    ({"kind": "slurm", "options": ["--partition=gpu"]}, SlurmLauncher(options=["--partition=gpu"])),
    (
        {"kind": "kubernetes", "image": "db1:1", "claim": "data", "mount": "/data"},
        KubernetesLauncher(image="db1:1", claim="data", mount="/data"),
    ),
]


@pytest.mark.parametrize("fields, launcher", CHOICES)
@pytest.mark.parametrize("is_file", [True, False])
def test_the_environment_chooses_the_launcher_of_all_runs(
    fields: dict[str, Any], launcher: Launcher, is_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "launcher.json"
    file.write_text(json.dumps(fields))
    monkeypatch.setenv("DB1_LAUNCHER", str(file) if is_file else json.dumps(fields))

    assert (define(Progress()).resources or {})["launcher"] == ChosenLauncher(by=launcher)  # type: ignore[arg-type]


def test_without_a_choice_training_runs_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB1_LAUNCHER", raising=False)

    assert ChosenLauncher.from_environment() == ChosenLauncher(by=ProcessLauncher())


@pytest.mark.parametrize(
    "value, fault",
    [
        ('{"kind": "pbs"}', "has the kind 'pbs'; expected one of local, nodes, slurm, kubernetes, such as\n  export"),
        ('{"options": []}', "DB1_LAUNCHER has the kind None"),
        (
            '{"kind": "slurm", "option": []}',
            "field 'option'; expected, for kind 'slurm', some of port, timeout_s, audit, options",
        ),
        ('{"kind": "slurm", "port": "x"}', "kind 'slurm': port is 'x': "),
        ('{"kind": "kubernetes", "image": "db1:1"}', "lacks claim, mount"),
        ('{"kind": "slurm"', "and no JSON: "),
        ("slurm", "is 'slurm', and no such file"),
    ],
)
def test_a_choice_of_no_launcher_is_refused(value: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_LAUNCHER", value)

    with pytest.raises((ValueError, FileNotFoundError), match=fault):
        ChosenLauncher.from_environment()


@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_server_does_not_start_with_a_broken_choice(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_db1: Callable[..., tuple[int, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB1_LAUNCHER", '{"kind": "pbs"}')

    code, printed = run_db1(command)

    assert code == 1
    assert printed.startswith("error: DB1_LAUNCHER has the kind 'pbs'")


def test_a_broken_choice_is_told_in_two_lines_though_definitions_are_made_when_they_are_imported() -> None:
    program = python("from pipelines.cli import main; main()")
    environment = {**os.environ, "DB1_LAUNCHER": '{"kind": "slurm"'}
    done = subprocess.run([*program, "make", "tokenizer"], env=environment, capture_output=True, text=True)

    assert done.returncode == 1
    assert re.fullmatch(r"error: DB1_LAUNCHER is .*, and no JSON: .*\n  export DB1_LAUNCHER=.*\n", done.stdout)
    assert done.stderr == ""


def test_a_runs_configuration_chooses_another_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Launcher] = []
    monkeypatch.setattr(
        ChosenLauncher, "train", lambda self, *_: chosen.append(self.by) or dg.MaterializeResult(metadata={})
    )

    @dg.asset
    def trained(context, launcher: Launcher) -> dg.MaterializeResult:
        return launcher.train(context, {}, Progress())

    config = {"launcher": {"config": {"by": {"slurm": {"options": ["--time=1-0"]}}}}}
    for run_config in ({}, {"resources": config}):
        dg.materialize([trained], resources={"launcher": ChosenLauncher()}, run_config=run_config)

    assert chosen == [ProcessLauncher(), SlurmLauncher(options=["--time=1-0"])]
