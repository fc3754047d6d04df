from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assets.staleness import Finding, Survey
from pipelines.cli import app
from storage.folder import StoredFolder

TASK = "control/CartPole"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root that holds a catalogue of one task, and the task's episodes."""
    monkeypatch.setenv("DB1_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    digest = store(tmp_path, "trajectories", TASK, {"code_version": "1"})
    store(tmp_path, "catalogue", "demo", {"code_version": "1", "trajectories": {TASK: digest}})
    return tmp_path


def store(root: Path, kind: str, name: str, recipe: dict[str, Any]) -> str:
    def fill(folder: Path) -> dict[str, Any]:
        (folder / "content").write_text("{}")
        return {"expert_route": "script", "num_episodes": 3}

    return StoredFolder(root / kind, kind, name).write(fill, recipe=recipe).digest


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_a_trace_draws_what_something_was_made_from_and_ends_where_that_is_gone(root: Path) -> None:
    code, told = run("trace", "catalogue", "--task", TASK)
    assert code == 0
    assert f"trajectories {TASK}" in told
    assert "expert route script, 3 episodes" in told
    assert "all links hold" in told
    now = store(root, "trajectories", TASK, {"code_version": "2"})

    code, told = run("trace", "catalogue")

    assert code == 1
    assert f"was used, but what lies there now is {now[:12]}" in told
    tree = json.loads(run("trace", "catalogue", "--json")[1])
    assert tree["inputs"][0]["fault"].endswith(now[:12])


def test_a_task_of_another_family_is_refused(root: Path) -> None:
    error = CliRunner().invoke(app, ["trace", "evaluation/tsp", "--task", TASK]).exception

    assert "'control/CartPole' is not of family 'tsp'" in str(error)


def test_what_is_out_of_date_is_told_by_reason_and_is_exit_code_1(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was, now = "a" * 64, "b" * 64
    alike = [Finding("tokens", f"tsp/tsp100-city-{i}", "out of date", ("other trajectories",)) for i in range(3)]
    digests = {"kind": "input", "what": "shards", "was": was, "now": now}
    alone = Finding("checkpoint", "demo", "out of date", ("other shards",), (digests,))
    monkeypatch.setattr(Survey, "run", lambda self: [*alike, alone])

    code, told = run("stale")

    assert code == 1
    first, second, last = told.splitlines()
    assert first.split() == ["tokens/tsp", "3", "tasks", "out", "of", "date:", "other", "trajectories"]
    assert "other shards (shards aaaaaaaaaaaa, now bbbbbbbbbbbb)" in second
    assert "db1 make all -e demo" in last
    assert len(json.loads(run("stale", "--json")[1])) == 4
    monkeypatch.setattr(Survey, "run", lambda self: [])
    assert run("stale") == (0, "nothing is out of date\n")
