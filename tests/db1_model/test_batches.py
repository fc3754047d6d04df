from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from db1_model.batches import StepSampler, WindowDataset, make_loader
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.positions import NUMBERS, PATCH
from db1_model.schedule import Schedule
from db1_model.transformer import DB1
from storage.shards import ShardStore
from storage.tokens import TokenStore

TRAINING = TrainingConfig(steps=6, batch_windows=8, seed=3)
LENGTHS = [3, 40, 7, 1, 25]


@pytest.fixture
def tasks(make_task: Callable):
    return {f"zoo/{kind}": make_task(kind, LENGTHS) for kind in ("vector", "mixed", "image")}


def test_the_order_is_the_same_for_any_number_of_processes_and_from_any_step(tasks, config: ModelConfig) -> None:
    whole = list(make_loader(tasks, config, TRAINING))

    for world_size in (2, 4):
        for first_step in (0, 4):
            parts = [
                list(make_loader(tasks, config, TRAINING, rank=rank, world_size=world_size, first_step=first_step))
                for rank in range(world_size)
            ]
            assert [len(part) for part in parts] == [TRAINING.steps - first_step] * world_size
            for step, batches in enumerate(zip(*parts, strict=True), first_step):
                joined = torch.stack([batch["tokens"] for batch in batches], dim=1).flatten(0, 1)
                assert torch.equal(joined, whole[step]["tokens"])


def test_packing_leaves_no_padding_where_windows_that_end_with_their_episode_do(tasks, config: ModelConfig) -> None:
    shares = {}
    for pack in (True, False):
        batches = list(make_loader(tasks, config, replace(TRAINING, pack=pack)))
        after = [torch.arange(config.context_length) >= batch["num_tokens"][:, None] for batch in batches]
        assert not any(batch["loss_mask"][where].any() for batch, where in zip(batches, after, strict=True))
        shares[pack] = torch.cat(after).float().mean()

    assert shares[True] == 0
    assert shares[False] > 0.01


def test_worker_processes_make_the_same_batches(tasks, config: ModelConfig) -> None:
    alone, helped = make_loader(tasks, config, TRAINING), make_loader(tasks, config, TRAINING, num_workers=2)

    for one, other in zip(alone, helped, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_holds_a_patch_and_a_run_for_each_of_their_places(tasks, config: ModelConfig) -> None:
    batch = next(iter(make_loader(tasks, config, TRAINING)))

    assert batch["tokens"].shape == (8, 64)
    assert len(batch["patches"]) == torch.sum(batch["tokens"] == PATCH) > 0
    assert len(batch.get("numbers", ())) == torch.sum(batch["tokens"] == NUMBERS)
    assert batch["labels"].min() >= 0
    loss = DB1(config).masked_loss(batch)
    assert torch.isfinite(loss)
    assert loss > 0


def test_each_task_has_its_share_of_the_positions(tasks, config: ModelConfig) -> None:
    dataset = WindowDataset(Schedule(tasks, config, replace(TRAINING, weights={"zoo/image": 0.5}, pack=False)), 400)

    with_image = sum(bool(len(dataset[position].patches)) for position in range(len(dataset)))

    assert abs(with_image - 200) < 2


def test_shards_on_disk_give_the_batches_of_their_episodes(tasks, config: ModelConfig, tmp_path: Path) -> None:
    tokens, shards = TokenStore(str(tmp_path / "tokens")), ShardStore(str(tmp_path / "shards"))
    for name, task in tasks.items():
        manifest = tokens.write(name, task.layout, task.episodes, recipe={}, metadata={})
        shards.write(name, tokens.read(name), recipe={"tokens": manifest.digest}, seed=0)
    shards.write_index("all", list(tasks), recipe={}, metadata={})
    index = shards.read("all")
    in_order = {
        name: replace(task, episodes=[task.episodes[seed] for seed in index[name].seeds])
        for name, task in tasks.items()
    }

    training = replace(TRAINING, prompt_share=0.0)  # what lies near, and so the prompts, depends on the shards
    stored, in_memory = make_loader(index, config, training), make_loader(in_order, config, training)

    for one, other in zip(stored, in_memory, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_tasks_of_two_vocabularies_are_refused(tasks, config: ModelConfig) -> None:
    tasks["zoo/mixed"].layout["vocabulary_digest"] = "another"

    with pytest.raises(ValueError, match="task 'zoo/mixed' was tokenized with vocabulary another"):
        Schedule(tasks, config, TRAINING)


def test_a_step_too_long_for_the_context_is_refused_by_task(tasks, config: ModelConfig) -> None:
    with pytest.raises(ValueError, match="task 'zoo/mixed': a step takes"):
        Schedule({"zoo/mixed": tasks["zoo/mixed"]}, replace(config, context_length=8), TRAINING)


def test_processes_that_cannot_share_a_step_are_refused() -> None:
    with pytest.raises(ValueError, match="8 sequences a step for 3 processes"):
        StepSampler(10, 8, world_size=3)


def test_a_run_that_goes_on_has_the_whole_runs_length_so_that_lightning_does_not_start_it_over() -> None:
    resumed = StepSampler(10, 8, first_step=7)

    assert len(resumed) == 10
    assert [step[0] for step in resumed] == [56, 64, 72]


def test_a_label_that_is_no_token_is_zero_in_the_batch(tasks) -> None:
    config = ModelConfig(1, 32, 2, 64, 64, 1024)
    dataset = WindowDataset(Schedule({"zoo/image": tasks["zoo/image"]}, config, TRAINING), 1)

    sequence, batch = dataset[0], dataset.__getitems__([0])

    assert sequence.labels.min() == PATCH
    assert not sequence.loss_mask[sequence.labels == PATCH].any()
    assert batch["labels"].min() == 0
