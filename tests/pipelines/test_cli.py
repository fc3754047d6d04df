from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db1_model.published import import_db1_weights, read_db1_config
from pipelines.cli import main

ROOT = Path(__file__).parents[2]
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def db1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in an empty project; return its exit code and all that it printed."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["db1", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out + captured.err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "tokenz"], "unknown stage 'tokenz'; expected one of trajectories, tokenizer, tokens"),
        (["make", "tokens", "control/CartPol"], "unknown task 'control/CartPol'; did you mean control/CartPole"),
        (["make", "tokens", "-e", "dem"], "unknown experiment 'dem'; expected one of demo, full"),
        (["make", "tokens", "control/CartPole"], "db1 make"),
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
