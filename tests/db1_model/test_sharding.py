from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db1_model.batches import make_loader, split_batch
from db1_model.config import TrainingConfig
from db1_model.layout import StepLayout
from db1_model.presets import get_preset
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.train import train, training_recipe
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema
from storage.folder import StoredFolder
from storage.shards import ShardIndex, ShardStore
from storage.tokens import TokenStore

SCHEMAS = {
    "numbers": Schema({"state": Leaf("continuous", (3,))}, Leaf("discrete", (), num_values=2)),
    "words": Schema({"question": Leaf("text", num_tokens=6)}, Leaf("text", num_tokens=8)),
    "pictures": Schema({"frame": Leaf("image", (16, 32, 3))}, Leaf("discrete", (), num_values=3)),
}
TRAINING = TrainingConfig(steps=10, batch_windows=6, checkpoint_every=4, warmup_steps=2)
SHARED = {"devices": 2, "strategy": "fsdp"}
WORDS = np.array(["go to the red ball", "open the door"], object)


def draw(leaf: Leaf, length: int, rng: np.random.Generator) -> Any:
    if leaf.kind == "text":
        return WORDS[rng.integers(0, 2, (length, 1))]
    if leaf.kind == "continuous":
        return rng.normal(size=(length, *leaf.shape)).astype(np.float32)
    return rng.integers(0, leaf.num_values or 256, (length, *leaf.shape)).astype(
        np.uint8 if leaf.kind == "image" else np.int64
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of tasks of which each lacks an input that another has: ``plain`` ones, and ``all`` with pictures."""
    root = tmp_path_factory.mktemp("sharding")
    tokenizer = TextTokenizer.train(WORDS.tolist(), 1024)
    vocabulary = Vocabulary.of(get_preset("db1-nano"), tokenizer.digest)
    tokens, store = TokenStore(str(root / "tokens")), ShardStore(str(root / "shards"))
    for name, schema in SCHEMAS.items():
        layout, rng = StepLayout.from_schema(schema, vocabulary), np.random.default_rng(0)
        episodes = (
            Episode(
                f"zoo/{name}",
                seed,
                {key: draw(leaf, 30, rng) for key, leaf in schema.observations.items()},
                draw(schema.action, 30, rng),
                np.ones(30),
                True,
                False,
            )
            for seed in range(8)
        )
        encoded = (encode_episode(episode, layout, tokenizer, vocabulary) for episode in episodes)
        tokens.write(f"zoo/{name}", layout.to_json(), encoded, recipe={}, metadata={})
        store.write(f"zoo/{name}", tokens.read(f"zoo/{name}"), recipe={}, seed=0)
    metadata = {"vocabulary": vocabulary.to_json()}
    store.write_index("plain", ["zoo/numbers", "zoo/words"], recipe={}, metadata=metadata)
    store.write_index("all", [f"zoo/{name}" for name in SCHEMAS], recipe={}, metadata=metadata)
    return str(root / "shards")


@pytest.fixture(scope="module")
def plain(shards: str) -> ShardIndex:
    return ShardStore(shards).read("plain")


@pytest.fixture(scope="module")
def expected(plain: ShardIndex, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses of one process that trains each step's batch at once."""
    return losses_of(train(TRAINING, plain, StoredFolder(tmp_path_factory.mktemp("whole"), "checkpoint", "x")).metadata)


def losses_of(metadata: Any) -> list[float]:
    return [row["loss"] for row in metadata["log"]]


def run(shards: str, index: str, root: Path, training: TrainingConfig, *, kill_at: int = 0) -> str:
    """Train in processes of their own, and kill them after a step if asked to; return what they print."""
    root.mkdir(exist_ok=True)
    config = {"shards": shards, "index": index, "checkpoints": str(root), "checkpoint": "x"}
    (root / "run.json").write_text(json.dumps({**config, "training": training.to_json()}))
    process = subprocess.Popen(
        [sys.executable, "-m", "db1_model.train", "--config", str(root / "run.json")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if kill_at and line.startswith(f"step {kill_at}/"):
            process.send_signal(signal.SIGKILL)
    assert process.wait() == (-signal.SIGKILL if kill_at else 0)
    return "".join(lines)


def read_losses(root: Path) -> list[float]:
    return losses_of(StoredFolder(root, "checkpoint", "x").read().metadata)


@pytest.mark.parametrize("size", [1, 4])
def test_micro_batches_leave_the_losses_as_they_are(
    plain: ShardIndex, expected: list[float], tmp_path: Path, size: int
) -> None:
    made = train(replace(TRAINING, micro_batch=size), plain, StoredFolder(tmp_path, "checkpoint", "x"))

    np.testing.assert_allclose(losses_of(made.metadata), expected, rtol=0, atol=1e-5)


def test_the_parts_of_a_batch_have_the_runs_and_patches_of_their_sequences(shards: str) -> None:
    index, config = ShardStore(shards).read("all"), get_preset("db1-nano")
    batch = next(iter(make_loader(index, config, TRAINING)))

    parts = list(split_batch(batch, 1))

    assert [len(part["tokens"]) for part in parts] == [1] * TRAINING.batch_windows
    for name in ("tokens", "labels", "numbers", "patches", "patch_rows", "patch_columns"):
        assert torch.equal(torch.cat([part[name] for part in parts if name in part]), batch[name])
    for part in parts:
        assert int((part["tokens"] == -1).sum()) == len(part.get("patches", ()))
        assert int((part["tokens"] == -2).sum()) == len(part.get("numbers", ()))


def test_strategy_and_micro_batch_are_no_part_of_the_recipe(plain: ShardIndex) -> None:
    recipe = training_recipe(TRAINING, plain)

    assert training_recipe(replace(TRAINING, strategy="fsdp", micro_batch=2), plain) == recipe


def test_gpus_train_in_bfloat16_by_default_and_the_recipe_says_so(plain: ShardIndex) -> None:
    formats = {
        accelerator: training_recipe(replace(TRAINING, accelerator=accelerator), plain)["training"]["precision"]
        for accelerator in ("cpu", "gpu")
    }

    assert formats == {"cpu": "32-true", "gpu": "bf16-mixed"}
    assert replace(TRAINING, accelerator="gpu", precision="32-true").number_format == "32-true"


@pytest.mark.parametrize("name, value", [("strategy", "zero"), ("precision", "16"), ("micro_batch", -1)])
def test_an_unknown_choice_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}; expected"):
        TrainingConfig(**{name: value})


def test_a_killed_fsdp_training_goes_on_in_one_process_and_ends_as_if_nothing_had_been(
    shards: str, plain: ShardIndex, expected: list[float], tmp_path: Path
) -> None:
    run(shards, "plain", tmp_path, replace(TRAINING, **SHARED), kill_at=6)
    assert [state.stem for state in tmp_path.rglob("*.ckpt")] == ["step-00000004"]

    train(TRAINING, plain, StoredFolder(tmp_path, "checkpoint", "x"))

    np.testing.assert_allclose(read_losses(tmp_path), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_killed_training_of_one_process_goes_on_with_fsdp(shards: str, expected: list[float], tmp_path: Path) -> None:
    run(shards, "plain", tmp_path, TRAINING, kill_at=6)

    printed = run(shards, "plain", tmp_path, replace(TRAINING, micro_batch=1, **SHARED))

    assert printed.startswith("going on from step 4")
    np.testing.assert_allclose(read_losses(tmp_path), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("choice", [{"devices": 2}, {"devices": 2, "micro_batch": 1}, {"micro_batch": 1, **SHARED}])
def test_two_processes_have_the_losses_of_one_though_some_batches_lack_numbers(
    shards: str, expected: list[float], tmp_path: Path, choice: dict[str, Any]
) -> None:
    run(shards, "plain", tmp_path, replace(TRAINING, **choice))

    np.testing.assert_allclose(read_losses(tmp_path), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_fsdp_and_ddp_have_the_same_losses_though_some_ranks_lack_pictures(shards: str, tmp_path: Path) -> None:
    choices: list[dict[str, Any]] = [{"devices": 2, "micro_batch": 1}, {"micro_batch": 1, **SHARED}]

    for number, choice in enumerate(choices):
        run(shards, "all", tmp_path / str(number), replace(TRAINING, **choice))

    ddp, fsdp = (read_losses(tmp_path / str(number)) for number in range(2))
    np.testing.assert_allclose(fsdp, ddp, rtol=0, atol=1e-5)
