from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from assets.resources import Experiment, Progress, Stores
from pipelines import cli
from pipelines.definitions import define
from pipelines.runs import make_stages, plan_runs
from tasks.task import EVALUATION_SEED

STAGES = ("trajectories", "tokenizer", "tokens", "shards", "checkpoint", "evaluation")
TASKS = ("captions/own", "dialogue/own", "text/own")
OWN = Experiment(
    name="own",
    tasks=",".join(TASKS),
    num_evaluation_episodes=2,
    num_processes=1,
    training={"steps": 1, "batch_windows": 3, "warmup_steps": 0},
)


def test_own_texts_pictures_and_talks_go_all_the_way_to_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    texts = [f"Käse number {number} costs {7 * number} crowns." for number in range(100)]
    talks = [[("user", f"What costs {text}"), ("assistant", text)] for text in texts]
    (tmp_path / "pairs").mkdir()
    for number, text in enumerate(texts):
        Image.new("RGB", (9 + number, 70), (number, 2 * number, 0)).save(tmp_path / "pairs" / f"{number}.png")
        (tmp_path / "pairs" / f"{number}.txt").write_text(text)
    done = CliRunner().invoke(cli.app, ["import", str(tmp_path / "pairs"), "--as", "captions/own", "--format", "pairs"])
    assert (done.exit_code, "100 samples: 9" in done.output, "0 bad" in done.output) == (0, True, True), done.output
    lines = {
        "text": [{"body": text} for text in texts],
        "messages": [{"messages": [{"role": role, "content": said} for role, said in talk]} for talk in talks],
    }
    for name, format, options in (("text/own", "text", ["--field", "body"]), ("dialogue/own", "messages", [])):
        file = tmp_path / f"{format}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in [*lines[format], {}]))
        done = CliRunner().invoke(cli.app, ["import", str(file), "--as", name, "--format", format, *options])
        assert (done.exit_code, "101 samples: 9" in done.output, "1 bad" in done.output) == (0, True, True), done.output
        assert f"left out: {format}.jsonl, line 101: the fields []" in done.output

    with dg.DagsterInstance.ephemeral() as instance:
        job = define(Progress()).resolve_implicit_global_asset_job_def()
        make_stages(plan_runs(STAGES, TASKS), job, instance, OWN, tell=lambda *_: None)

    stores = Stores(root=str(tmp_path / "data"))
    for task_id in TASKS:
        played = stores.evaluation.read(task_id)
        assert played.seeds.tolist() == [EVALUATION_SEED, EVALUATION_SEED + 1]
        assert np.isfinite(played.total_returns).all()
        scores = played.manifest.metadata["reference_scores"]
        assert scores["expert"]["mean"] > scores[played.manifest.metadata["floor"]]["mean"]
    assert len(stores.tokens.read("text/own")) == len(stores.trajectories.read("text/own"))


def test_what_was_not_imported_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    job = define(Progress()).resolve_implicit_global_asset_job_def()

    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(ValueError, match="db1 import FOLDER --as text/own"):
        make_stages(plan_runs(STAGES, ["text/own"]), job, instance, OWN, tell=lambda *_: None)
