"""The process that trains: ``python -m db1_model.train --config FILE``.

The file holds JSON: ``shards`` (root of the shards), ``index`` (name of the shard index), ``checkpoints`` (root of the
checkpoints), ``checkpoint`` (name of the one to make) and ``training`` (a ``TrainingConfig``). Killed and started
again, it goes on from its last training state; started again when the checkpoint is there, it does no work.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from dagster_pipes import PipesContext, PipesEnvVarParamsLoader, open_dagster_pipes

from db1_model.config import TrainingConfig
from db1_model.presets import get_preset
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.manifest import Manifest, recipe_key
from storage.shards import ShardIndex, ShardStore

CODE_VERSION = "2"


def training_recipe(training: TrainingConfig, index: ShardIndex) -> dict[str, Any]:
    """Return what determines a checkpoint: the run's choices, the model's sizes and the shards' digest."""
    return {
        "code_version": CODE_VERSION,
        "training": training.to_json(),
        "model": get_preset(training.preset).to_json(),
        "shards": index.digest,
    }


def train(training: TrainingConfig, index: ShardIndex, folder: StoredFolder) -> Manifest:
    """Train a checkpoint, or go on where a killed run stopped.

    Args:
        training: The run's choices.
        index: The shards to train on.
        folder: Where the checkpoint goes; training states lie beside it until it is complete.

    Returns:
        The checkpoint's manifest.

    Raises:
        ValueError: If the shards were made for another vocabulary than the preset's.
    """
    import lightning
    import torch

    from db1_model.batches import make_loader
    from db1_model.checkpoint import save_checkpoint
    from db1_model.precision import fast_float32
    from db1_model.training import TrainingLog, TrainingModule, TrainingState, find_states, read_training_log

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    recipe = training_recipe(training, index)
    if finished := folder.find(recipe):
        return finished
    config = get_preset(training.preset)
    vocabulary = Vocabulary.from_json(index.manifest.metadata["vocabulary"])
    if (vocabulary.text_size, vocabulary.num_bins) != (config.text_vocab_size, config.num_bins):
        raise ValueError(
            f"the shards {index.manifest.name!r} have {vocabulary.text_size} text tokens and {vocabulary.num_bins} "
            f"bins, preset {training.preset!r} has {config.text_vocab_size} and {config.num_bins}; "
            "make tokens and shards for this preset with:\n  db1 make tokens && db1 make shards"
        )
    torch.set_num_threads(training.threads)
    lightning.seed_everything(training.seed, verbose=False)
    run = folder.path / "runs" / recipe_key(recipe)[:16]
    run.mkdir(parents=True, exist_ok=True)
    states = find_states(run)
    first_step = int(states[-1].stem.removeprefix("step-")) if states else 0
    if states:
        print(f"going on from step {first_step}", flush=True)
    world_size = training.devices * training.num_nodes
    module = TrainingModule(config, training)
    has_images = any(index[task].layout["image"] for task in index)
    module.model.embedding.patches.requires_grad_(has_images)
    strategy = "ddp_find_unused_parameters_true" if has_images else "ddp"  # a batch may lack images
    trainer = lightning.Trainer(
        accelerator=training.accelerator,
        devices=training.devices,
        num_nodes=training.num_nodes,
        strategy=strategy if world_size > 1 else "auto",
        precision=training.precision,
        max_steps=training.steps,
        gradient_clip_val=training.clip_norm,
        callbacks=[
            TrainingLog(run / "log.jsonl", training, first_step=first_step, every_steps=max(1, training.steps // 200)),
            TrainingState(run, every_steps=training.checkpoint_every, keep=training.keep),
        ],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    loader = make_loader(
        index, config, training, rank=trainer.global_rank, world_size=world_size, first_step=first_step
    )
    with fast_float32():
        trainer.fit(module, loader, ckpt_path=states[-1] if states else None, weights_only=False)
    if not trainer.is_global_zero:
        sys.exit(0)
    manifest = save_checkpoint(
        folder,
        module.model,
        vocabulary=vocabulary,
        recipe=recipe,
        step=trainer.global_step,
        metadata={"log": read_training_log(run / "log.jsonl"), "world_size": world_size},
    )
    for leftover in run.iterdir():
        leftover.unlink()
    run.rmdir()
    return manifest


def report(pipes: PipesContext, manifest: Manifest) -> None:
    """Tell Dagster what was made."""
    log = manifest.metadata["log"]
    last = log[-1]
    pipes.report_asset_materialization(
        metadata={
            "digest": manifest.digest,
            "step": manifest.metadata["step"],
            "loss": last["loss"],
            "positions_per_s": last["positions_per_s"],
            "batches_without_targets": sum(row["batches_without_targets"] for row in log),
            "padding_share": sum(row["padding_share"] for row in log) / len(log),
            "world_size": manifest.metadata["world_size"],
        },
        data_version=manifest.digest,
    )


def main() -> None:
    """Read the configuration, train, and report to Dagster when it started this process."""
    parser = argparse.ArgumentParser(description="Train a checkpoint from shards.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file that names the shards and the choices")
    config = json.loads(parser.parse_args().config.read_text())
    training = TrainingConfig.from_json(config["training"])
    index = ShardStore(config["shards"]).read(config["index"])
    folder = StoredFolder(config["checkpoints"], "checkpoint", config["checkpoint"])
    is_first_rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
    if not is_first_rank and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no rank waits for a first one that was killed
    if PipesEnvVarParamsLoader().is_dagster_pipes_process() and is_first_rank:
        with open_dagster_pipes() as pipes:
            report(pipes, train(training, index, folder))
    else:
        train(training, index, folder)


if __name__ == "__main__":
    main()
