"""The process that trains: ``python -m db1_model.train --config FILE``.

The file holds JSON: ``shards`` (root of the shards), ``index`` (name of the shard index), ``checkpoints`` (root of the
checkpoints), ``checkpoint`` (name of the one to make), ``training`` (a ``TrainingConfig``) and, if it likes,
``timeout_s`` (how long a process waits for the others before it fails) and ``start`` (``root``, ``kind`` and ``name``
of a stored model whose weights are the first ones). Killed and started again, it goes on from its last training state,
also with another number of processes; started again when the checkpoint is there, it does no work. ``--audit FOLDER``
writes down which sequences each process trains.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_pipes import PipesContext, PipesEnvVarParamsLoader, open_dagster_pipes

from db1_model.config import TrainingConfig
from db1_model.presets import get_preset
from db1_model.rank import choose_interface, die_with_starter, is_first_rank
from db1_model.training_log import log_path, read_training_log, run_folder
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFiles, StoredFolder
from storage.manifest import Manifest
from storage.shards import ShardIndex, ShardStore

if TYPE_CHECKING:
    from lightning import Trainer

CODE_VERSION = "4"
TIMEOUT_S = 600.0
"""How long a process waits for the others by default; the first one may be writing a large state."""

_EXECUTION = {
    "accelerator",
    "attention",
    "checkpoint_activations",
    "checkpoint_every",
    "compile_blocks",
    "devices",
    "keep",
    "micro_batch",
    "num_nodes",
    "num_workers",
    "strategy",
    "threads",
}
"""Choices that say where and how fast a run is computed: with others it goes on, and its checkpoint is found."""


def training_recipe(training: TrainingConfig, index: ShardIndex) -> dict[str, Any]:
    """Return what determines a checkpoint: what is trained, from what on, the model's sizes and the shards' digest."""
    left_out = _EXECUTION if training.warm_start else _EXECUTION | {"warm_start"}
    chosen = {**training.to_json(), "precision": training.number_format}
    return {
        "code_version": CODE_VERSION,
        "training": {name: value for name, value in chosen.items() if name not in left_out},
        "model": get_preset(training.preset).to_json(),
        "shards": index.digest,
    }


def train(
    training: TrainingConfig,
    index: ShardIndex,
    folder: StoredFolder,
    *,
    audit: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    start: StoredFiles | None = None,
) -> Manifest:
    """Train a checkpoint, or go on where a killed run stopped.

    Args:
        training: The run's choices.
        index: The shards to train on.
        folder: Where the checkpoint goes; training states lie beside it until it is complete.
        audit: Folder that gets which sequences each process trains.
        timeout_s: How long a process waits for the others before it fails.
        start: A stored model of the same sizes and vocabulary, whose weights are the first ones.

    Returns:
        The checkpoint's manifest.

    Raises:
        ValueError: If the shards were made for another vocabulary than the preset's, or the model to start from is of
            another vocabulary or of other sizes.
    """
    from db1_model.checkpoint import save_checkpoint
    from db1_model.fitting import fit, make_module
    from db1_model.sharding import gather_model

    recipe = training_recipe(training, index)
    if finished := folder.find(recipe):
        return finished
    vocabulary = _read_vocabulary(training, index)
    run = run_folder(folder, recipe)
    run.mkdir(parents=True, exist_ok=True)
    module = make_module(training, index, vocabulary, start)
    trainer = fit(module, training, index, run, audit=audit, timeout_s=timeout_s)
    model = gather_model(module.model, trainer.strategy)
    if not trainer.is_global_zero:
        sys.exit(0)
    step, told = trainer.global_step, _describe(training, index, trainer, run)
    manifest = save_checkpoint(folder, model, vocabulary=vocabulary, recipe=recipe, step=step, metadata=told)
    for leftover in run.iterdir():
        leftover.unlink()
    run.rmdir()
    return manifest


def _read_vocabulary(training: TrainingConfig, index: ShardIndex) -> Vocabulary:
    """Return the vocabulary of the shards, which is to be the preset's."""
    config, vocabulary = get_preset(training.preset), Vocabulary.from_json(index.manifest.metadata["vocabulary"])
    if (vocabulary.text_size, vocabulary.num_bins) != (config.text_vocab_size, config.num_bins):
        raise ValueError(
            f"the shards {index.manifest.name!r} have {vocabulary.text_size} text tokens and {vocabulary.num_bins} "
            f"bins, preset {training.preset!r} has {config.text_vocab_size} and {config.num_bins}; "
            "make tokens and shards for this preset with:\n  db1 make tokens && db1 make shards"
        )
    return vocabulary


def _describe(training: TrainingConfig, index: ShardIndex, trainer: Trainer, run: Path) -> dict[str, Any]:
    """Return what a checkpoint's manifest tells of its training."""
    from db1_model.exposure import measure_exposure

    seen = measure_exposure(index, get_preset(training.preset), training, steps=trainer.global_step)
    return {
        "log": read_training_log(log_path(run)),
        "mixture": [asdict(task) for task in seen],
        "execution": {name: value for name, value in training.to_json().items() if name in _EXECUTION},
        "world_size": trainer.world_size,
    }


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
    parser.add_argument("--audit", type=Path, help="folder that gets which sequences each process trains")
    arguments = parser.parse_args()
    die_with_starter()
    choose_interface(os.environ)
    config = json.loads(arguments.config.read_text())
    training = TrainingConfig.from_json(config["training"])
    index = ShardStore(config["shards"]).read(config["index"])
    folder = StoredFolder(config["checkpoints"], "checkpoint", config["checkpoint"])
    start = StoredFolder(**config["start"]).open() if config.get("start") else None
    timeout_s = config.get("timeout_s", TIMEOUT_S)
    run = partial(train, training, index, folder, audit=arguments.audit, timeout_s=timeout_s, start=start)
    if PipesEnvVarParamsLoader().is_dagster_pipes_process() and is_first_rank():
        with open_dagster_pipes() as pipes:
            report(pipes, run())
    else:
        run()


if __name__ == "__main__":
    main()
