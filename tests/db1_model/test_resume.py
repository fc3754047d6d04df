from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from db1_model.audit import digest_sequences, read_audit
from db1_model.batches import make_loader
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.data_module import WindowDataModule
from db1_model.exposure import measure_exposure
from db1_model.train import training_recipe
from db1_model.training_log import read_training_log
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.shards import ShardIndex, ShardStore
from storage.tokens import TokenStore

STEPS, BATCH = 150, 24
CONFIG = ModelConfig(1, 32, 2, 64, 64, 1024, encoding="embedded", numbers_per_position=4)
TRAINING = TrainingConfig(steps=STEPS, batch_windows=BATCH, seed=3, weights={"kind": "tokens"})


@pytest.fixture(scope="module")
def shards(make_task: Callable, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of two tasks of different lengths, under the index ``two``."""
    root = tmp_path_factory.mktemp("resume")
    tokens, store = TokenStore(str(root / "tokens")), ShardStore(str(root / "shards"))
    for kind, num_episodes in (("vector", 120), ("mixed", 30)):
        task = make_task(kind, [20 + number for number in range(num_episodes)])
        tokens.write(f"zoo/{kind}", task.layout, task.episodes, recipe={}, metadata={})
        store.write(f"zoo/{kind}", tokens.read(f"zoo/{kind}"), recipe={}, seed=0)
    metadata = {"vocabulary": vocabulary.to_json()}
    store.write_index("two", ["zoo/vector", "zoo/mixed"], recipe={}, metadata=metadata)
    return str(root / "shards")


@pytest.fixture(scope="module")
def index(shards: str) -> ShardIndex:
    return ShardStore(shards).read("two")


def make_data(index: ShardIndex, *, rank: int, world_size: int, step: int, num_workers: int = 0) -> WindowDataModule:
    data = WindowDataModule(index, CONFIG, replace(TRAINING, num_workers=num_workers))
    trainer: Any = SimpleNamespace(global_rank=rank, world_size=world_size, global_step=step)
    data.trainer = trainer
    return data


def test_fifty_stops_with_other_processes_and_workers_lose_no_sequence_and_repeat_none(index: ShardIndex) -> None:
    uninterrupted = [
        digest_sequences(batch) for batch in make_data(index, rank=0, world_size=1, step=0).train_dataloader()
    ]
    rng = np.random.default_rng(0)
    stops = sorted(rng.choice(np.arange(1, STEPS), 50, replace=False).tolist())
    state = make_data(index, rank=0, world_size=1, step=0).state_dict()
    delivered: list[list[str]] = []
    positions: list[int] = []

    for first, last in pairwise([0, *stops, STEPS]):
        world_size = int(rng.choice([1, 2, 3, 4, 6, 8]))
        num_workers = int(rng.choice([0, 0, 0, 1, 2]))
        ranks, samplers = [], []
        for rank in range(world_size):
            data = make_data(index, rank=rank, world_size=world_size, step=last, num_workers=num_workers)
            data.load_state_dict(state)
            loader = data.train_dataloader()
            batches = iter(loader)  # workers prefetch beyond the stop
            ranks.append([digest_sequences(next(batches)) for _ in range(first, last)])
            samplers.append(list(islice(loader.batch_sampler or [], last - first)))
        positions += [one for step in zip(*samplers, strict=True) for row in zip(*step, strict=True) for one in row]
        delivered += [[one for row in zip(*step, strict=True) for one in row] for step in zip(*ranks, strict=True)]
        state = make_data(index, rank=0, world_size=world_size, step=last).state_dict()

    assert delivered == uninterrupted
    assert positions == list(range(STEPS * BATCH))


def test_every_rank_goes_on_from_the_state_of_rank_0_with_its_own_slice(index: ShardIndex) -> None:
    state = make_data(index, rank=0, world_size=2, step=7).state_dict()

    for rank in range(3):
        data = make_data(index, rank=rank, world_size=3, step=7)
        data.load_state_dict(state)
        sampler = data.train_dataloader().batch_sampler
        assert next(iter(sampler or [])) == list(range(7 * BATCH + rank, 8 * BATCH, 3))


def test_the_loader_knows_its_length_with_workers_too_as_lightning_would_else_skip_a_prefetched_batch(
    index: ShardIndex,
) -> None:
    for num_workers in (0, 2):
        data = make_data(index, rank=1, world_size=2, step=0, num_workers=num_workers)
        assert len(data.train_dataloader()) == STEPS


def test_a_state_of_other_shards_is_refused(index: ShardIndex) -> None:
    data = make_data(index, rank=0, world_size=1, step=3)

    with pytest.raises(ValueError, match=r"(?s)of shards 'other', expected.*db1 make checkpoint --experiment two"):
        data.load_state_dict({**data.state_dict(), "shards": "other"})


def test_another_number_of_processes_or_workers_is_the_same_run_and_another_seed_is_not(index: ShardIndex) -> None:
    recipe = training_recipe(TRAINING, index)

    assert training_recipe(replace(TRAINING, devices=4, num_nodes=2, num_workers=3, threads=2), index) == recipe
    assert training_recipe(replace(TRAINING, seed=4), index) != recipe
    assert training_recipe(replace(TRAINING, weights=None), index) != recipe


@pytest.mark.parametrize("pack", [True, False])
def test_the_stated_exposure_is_what_the_loader_delivers(index: ShardIndex, pack: bool) -> None:
    training = replace(TRAINING, steps=20, pack=pack, weights={"zoo/mixed": 0.3})
    tokens = sum(int(batch["num_tokens"].sum()) for batch in make_loader(index, CONFIG, training))

    exposures = {one.task: one for one in measure_exposure(index, CONFIG, training, steps=20)}

    assert sum(one.tokens for one in exposures.values()) == tokens
    assert [one.windows for one in exposures.values()] == [336, 144]
    assert exposures["zoo/mixed"].requested_share == exposures["zoo/mixed"].realised_share == 0.3
    assert exposures["zoo/vector"].realised_share == 0.7
    transitions, positions_a_step = int(index["zoo/vector"].episode_lengths.sum()), 4
    epoch = transitions // (65 // positions_a_step) if pack else transitions - len(index["zoo/vector"])
    assert exposures["zoo/vector"].epochs == 336 / epoch


def start_training(shards: str, folder: Path, audit: Path, training: TrainingConfig) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    config = {"shards": shards, "index": "two", "checkpoints": str(folder), "checkpoint": "two"}
    (folder / "run.json").write_text(json.dumps({**config, "training": training.to_json()}))
    return subprocess.Popen(
        [sys.executable, "-m", "db1_model.train", "--config", str(folder / "run.json"), "--audit", str(audit)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_processes_killed_at_random_steps_train_what_an_uninterrupted_one_does(shards: str, tmp_path: Path) -> None:
    training = replace(TRAINING, steps=30, batch_windows=12, checkpoint_every=2, warmup_steps=2)
    assert start_training(shards, tmp_path / "whole", tmp_path / "audit-whole", training).wait() == 0
    rng = np.random.default_rng(1)

    kills = 0
    for kill_at in sorted(rng.choice(np.arange(2, 29), 8, replace=False).tolist()):
        changes = {"devices": int(rng.choice([1, 2])), "num_workers": int(rng.choice([0, 1, 2]))}
        process = start_training(shards, tmp_path / "killed", tmp_path / "audit", replace(training, **changes))
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"step {kill_at}/"):
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        process.wait()
    assert start_training(shards, tmp_path / "killed", tmp_path / "audit", training).wait() == 0

    assert kills == 8
    seen, expected = read_audit(tmp_path / "audit"), read_audit(tmp_path / "audit-whole")
    assert seen == expected
    assert sorted(seen) == list(range(1, 31))
    manifests = [StoredFolder(tmp_path / name, "checkpoint", "two").read() for name in ("killed", "whole")]
    losses = [[row["loss"] for row in manifest.metadata["log"]] for manifest in manifests]
    np.testing.assert_allclose(*losses, rtol=2e-3)
    assert manifests[0].metadata["mixture"] == manifests[1].metadata["mixture"]
    assert not read_training_log(tmp_path / "killed" / "two" / "log.jsonl")
