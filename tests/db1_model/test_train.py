from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from db1_model.callbacks import TrainingLog
from db1_model.config import TrainingConfig
from db1_model.layout import StepLayout
from db1_model.presets import get_preset
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.train import train
from db1_model.training import learning_rate_at
from db1_model.training_log import read_training_log
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema
from storage.folder import StoredFolder
from storage.shards import ShardStore
from storage.tokens import TokenStore

STEPS = 12
TRAINING = TrainingConfig(steps=STEPS, batch_windows=4, checkpoint_every=5, warmup_steps=2)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of a task whose action is the sign of its observation."""
    root = tmp_path_factory.mktemp("train")
    tokenizer = TextTokenizer.train(["go to the red ball"], 1024)
    vocabulary = Vocabulary.of(get_preset("db1-nano"), tokenizer.digest)
    schema = Schema({"observation": Leaf("continuous", (3,))}, Leaf("discrete", (), num_values=2))
    layout = StepLayout.from_schema(schema, vocabulary)
    generator = np.random.default_rng(0)

    def play(seed: int) -> Episode:
        seen = generator.normal(size=(50, 3)).astype(np.float32)
        actions = (seen[:, 0] > 0).astype(np.int64)
        return Episode("toy/sign", seed, {"observation": seen}, actions, np.ones(50), True, False)

    tokens = TokenStore(str(root / "tokens"))
    tokens.write(
        "toy/sign",
        layout.to_json(),
        (encode_episode(play(seed), layout, tokenizer, vocabulary) for seed in range(20)),
        recipe={},
        metadata={},
    )
    store = ShardStore(str(root / "shards"))
    store.write("toy/sign", tokens.read("toy/sign"), recipe={}, seed=0)
    store.write_index("toy", ["toy/sign"], recipe={}, metadata={"vocabulary": vocabulary.to_json()})
    return str(root / "shards")


def start_training(shards: str, folder: Path, training: TrainingConfig) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    config = {
        "shards": shards,
        "index": "toy",
        "checkpoints": str(folder),
        "checkpoint": "toy",
        "training": training.to_json(),
    }
    (folder / "run.json").write_text(json.dumps(config))
    return subprocess.Popen(
        [sys.executable, "-m", "db1_model.train", "--config", str(folder / "run.json")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_killed_run_with_a_prefetching_worker_ends_with_the_weights_of_an_uninterrupted_one(
    shards: str, tmp_path: Path
) -> None:
    index = ShardStore(shards).read("toy")
    whole = train(TRAINING, index, StoredFolder(tmp_path / "whole", "checkpoint", "toy"))

    process = start_training(shards, tmp_path / "killed", replace(TRAINING, num_workers=1))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 8/"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    folder = StoredFolder(tmp_path / "killed", "checkpoint", "toy")
    assert folder.find(whole.recipe) is None
    resumed = train(TRAINING, index, folder)

    assert resumed.digest == whole.digest
    assert [row["loss"] for row in resumed.metadata["log"]] == [row["loss"] for row in whole.metadata["log"]]
    assert not list(folder.path.glob("runs/*"))


def test_a_warm_start_begins_with_the_weights_of_another_checkpoint_and_its_digest_is_in_the_recipe(
    shards: str, tmp_path: Path
) -> None:
    from db1_model.checkpoint import load_checkpoint

    index, still = ShardStore(shards).read("toy"), {"steps": 1, "learning_rate": 1e-12, "final_learning_rate": 1e-12}
    folders = [StoredFolder(tmp_path / name, "checkpoint", "toy") for name in ("first", "second")]
    first = train(replace(TRAINING, steps=2), index, folders[0])

    warm = replace(TRAINING, seed=9, warm_start=first.digest, **still)
    second = train(warm, index, folders[1], start=folders[0].open())

    before, after = (load_checkpoint(folder.open()).model.state_dict() for folder in folders)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert second.recipe["training"]["warm_start"] == first.digest
    assert "warm_start" not in first.recipe["training"]


@pytest.mark.slow
def test_two_processes_train_the_weights_that_one_does(shards: str, tmp_path: Path) -> None:
    from db1_model.checkpoint import load_checkpoint

    models = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        assert start_training(shards, folder, replace(TRAINING, devices=devices)).wait() == 0
        models.append(load_checkpoint(StoredFolder(folder, "checkpoint", "toy").open()).model.state_dict())

    for name, value in models[0].items():
        np.testing.assert_allclose(value, models[1][name], atol=1e-4, err_msg=name)


def test_shards_of_another_vocabulary_are_refused(shards: str, tmp_path: Path) -> None:
    training = TrainingConfig(preset="db1-1.2b", steps=1, batch_windows=1)

    with pytest.raises(ValueError, match=r"1024 text tokens.*has 32000.*\n.*db1 make shards"):
        train(training, ShardStore(shards).read("toy"), StoredFolder(tmp_path, "checkpoint", "toy"))


def test_the_learning_rate_warms_up_to_its_peak_and_ends_at_its_last_value() -> None:
    training = TrainingConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)

    rates = [learning_rate_at(step, training) for step in range(101)]

    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert max(rates) == 1.0
    assert rates[100] == pytest.approx(0.1)


def test_a_half_written_line_of_a_log_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')

    assert read_training_log(log) == [{"step": 1, "loss": 2.0}]


def test_steps_without_a_target_and_padding_are_counted_also_by_a_run_that_goes_on_between_two_lines(
    tmp_path: Path,
) -> None:
    def make_log() -> TrainingLog:
        return TrainingLog(tmp_path / "log.jsonl", TRAINING, first_step=3, every_steps=4)

    log, trainer = make_log(), cast("Any", SimpleNamespace(is_global_zero=True, world_size=1, global_step=0))
    for loss, targets in ((1.0, 3), (2.0, 0), (3.0, 5), (6.0, 0)):
        if trainer.global_step == 3:
            state, log = log.state_dict(), make_log()
            log.load_state_dict(state)
            log.on_train_start(trainer, cast("Any", SimpleNamespace(device="cpu")))
        trainer.global_step += 1
        outputs = {"mean_loss": torch.tensor(loss), "targets": torch.tensor(float(targets))}
        batch = {"tokens": torch.zeros(2, 8), "num_tokens": torch.tensor([8, 4])}
        log.on_train_batch_end(trainer, Mock(), outputs, batch, 0)

    (row,) = read_training_log(log.path)
    assert (row["loss"], row["batches_without_targets"], row["padding_share"]) == (3.0, 2, 0.25)
