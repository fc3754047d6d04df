from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table

from db1_model.export import load_exported
from db1_model.published import import_db1_weights, read_db1_config
from db1_model.text import TextTokenizer
from pipelines.cli import main
from pipelines.terminal import print_table

ROOT = Path(__file__).parents[2]
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def db1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_db1: Command) -> Command:
    """Run the command in an empty project; return its exit code and all that it printed."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return run_db1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "tokenz"], "unknown stage 'tokenz'; expected one of specialists, trajectories, catalogue, tokenizer"),
        (["make", "tokens", "control/CartPol"], "unknown task 'control/CartPol'; did you mean control/CartPole"),
        (["make", "tokens", "-e", "dem"], "unknown experiment 'dem'; expected one of demo, demo_language, proof"),
        (["make", "tokens", "control/CartPole"], "db1 make"),
        (["make", "specialists", "control"], "the expert of no task of control is a specialist"),
        (["scores"], "db1 make evaluation control/CartPole"),
    ],
)
def test_an_error_is_one_message_and_exit_code_1(db1: Command, arguments: list[str], message: str) -> None:
    code, printed = db1(*arguments)

    assert code == 1
    assert message in printed
    assert "Traceback" not in printed


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["db1", "--debug", "make", "tokenz"])

    with pytest.raises(ValueError, match="unknown stage"):
        main()


def test_outside_the_projects_folder_the_message_says_where_to_go(db1: Command, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").unlink()

    code, printed = db1("make", "tokenizer")

    assert code == 1
    assert f"cd {ROOT}" in printed


def test_where_the_output_is_no_terminal_a_wide_table_is_not_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reason = "word " * 20

    print_table(Console(), Table(reason))

    assert reason.strip() in capsys.readouterr().out


def test_tasks_of_a_family_are_listed(db1: Command) -> None:
    code, printed = db1("tasks", "control")

    assert code == 0
    assert "control/CartPole" in printed


def test_parity_prints_every_case_and_a_changed_weight_fails_by_name(
    db1: Command, tmp_path: Path, published_sizes: dict[str, Any], draw_published_weights: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(published_sizes))
    weights = draw_published_weights(published_sizes)
    model = import_db1_weights(weights, read_db1_config(tmp_path / "config.json")).eval()
    tokens = torch.randint(0, 300, (2, 9))
    np.savez(tmp_path / "cases.npz", text_tokens=tokens, text_logits=model.logits(model(tokens)).detach())
    np.savez(tmp_path / "weights.npz", **weights)

    code, printed = db1("parity", str(tmp_path))

    assert code == 0
    assert "text_logits" in printed
    assert "left out, as the folder does not have them: rl_logits" in printed
    assert "1 of 1 cases hold" in printed

    weights["h.1.pos_ff.CoreNet.2.bias"][0] += 0.01
    np.savez(tmp_path / "weights.npz", **weights)

    code, printed = db1("parity", str(tmp_path))

    assert code == 1
    assert "0 of 1 cases hold; not: text_logits" in printed


@pytest.fixture
def imported(
    db1: Command, tmp_path: Path, published_sizes: dict[str, Any], draw_published_weights: Callable[..., dict[str, Any]]
) -> str:
    """Import a checkpoint as DeepSpeed writes it, under the name ``published``; return what was printed."""
    states = tmp_path / "theirs" / "step9" / "mp_rank_00_model_states.pt"
    states.parent.mkdir(parents=True)
    module = {name: value.half() for name, value in draw_published_weights(published_sizes).items()}
    arguments = argparse.Namespace(n_layer=2, nested={"drop": [0.1]})
    torch.save({"module": module, "args": arguments, "ds_config": {"fp16": {"enabled": True}}}, states)
    TextTokenizer.train(["go to the red ball"], 300).save(tmp_path / "tokenizer")
    sizes = ("--context-length", "24", "--memory-length", "24", "--num-bins", "64", "--num-discrete", "32")

    code, printed = db1(
        *("checkpoint", "import", str(tmp_path / "theirs"), "--name", "published"),
        *("--tokenizer", str(tmp_path / "tokenizer"), *sizes),
    )

    assert code == 0
    return printed


def test_a_published_checkpoint_is_imported_and_plays_a_task(db1: Command, imported: str) -> None:
    assert "db1 play published control/CartPole" in imported

    code, printed = db1("play", "published", "control/CartPole", "--episodes", "2")

    assert code == 0
    returns = [float(found) for found in re.findall(r"seed 100000\d .*return +(\d+)", printed)]
    assert len(returns) == 2
    assert f"mean return {sum(returns) / 2:.4g} of 2 episodes" in printed
    assert "without a prompt" in printed
    assert "db1 make trajectories control/CartPole" in printed


def test_an_imported_checkpoint_is_exported_as_a_folder_that_loads(db1: Command, imported: str, tmp_path: Path) -> None:
    code, _ = db1("checkpoint", "export", "published", str(tmp_path / "out"))

    assert code == 0
    assert load_exported(tmp_path / "out").model.config.memory == "zeros"
    assert "published DeepSpeed checkpoint" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    assert db1("checkpoint", "export", "published", str(tmp_path / "out"))[0] == 1
    assert db1("checkpoint", "export", "published", str(tmp_path / "out"), "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "publishd", "control/CartPole"], "checkpoints that are there: published"),
        (["play", "publishd", "control/CartPole"], "db1 checkpoint import FOLDER --name publishd"),
        (["play", "demo", "control/CartPole"], "db1 make checkpoint --experiment demo"),
        (["play", "published", "babyai/GoToObj"], "'view' has 202 values; expected at most 32"),
        (["checkpoint", "import", ".", "--name", "demo", "--tokenizer", "tokenizer"], "'demo' is an experiment"),
        (
            ["checkpoint", "import", "theirs", "--name", "a", "--tokenizer", "tokenizer", "--norm", "x"],
            "expected post, pre or deep",
        ),
        (["checkpoint", "import", ".", "--name", "a", "--tokenizer", "nowhere"], "no text tokenizer in nowhere"),
    ],
)
def test_an_error_about_a_checkpoint_says_what_mends_it(
    db1: Command, imported: str, arguments: list[str], message: str
) -> None:
    code, printed = db1(*arguments)

    assert code == 1
    assert message in printed
    assert "Traceback" not in printed
