from __future__ import annotations

import gc
import logging
import warnings
from pathlib import Path

import lightning
import torch

from db1_model.callbacks import find_states, step_of
from db1_model.checkpoint import load_checkpoint
from db1_model.config import TrainingConfig
from db1_model.data_module import WindowDataModule
from db1_model.precision import fast_float32
from db1_model.presets import get_preset
from db1_model.trainer import make_trainer
from db1_model.training import TrainingModule
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFiles
from storage.shards import ShardIndex


def make_module(
    training: TrainingConfig, index: ShardIndex, vocabulary: Vocabulary, start: StoredFiles | None
) -> TrainingModule:
    """Make the model with the weights that follow from the run's seed, or with another's.

    What embeds images or numbers is not trained where no task shows any.

    Args:
        training: The run's choices.
        index: The shards to train on.
        vocabulary: What their tokens mean.
        start: A stored model whose weights are the first ones, or None.

    Raises:
        ValueError: If that model is of another vocabulary or of other sizes.
    """
    torch.set_num_threads(training.threads)
    lightning.seed_everything(training.seed, verbose=False)
    config, shown = get_preset(training.preset), _find_shown(index)
    module = TrainingModule(config, training)
    if start is not None:
        first = load_checkpoint(start, vocabulary_digest=vocabulary.digest).model
        if first.config != config:
            raise ValueError(f"{start.manifest.name!r} has the sizes {first.config}; expected {config}")
        module.model.load_state_dict(first.state_dict())
    module.model.embedding.patches.requires_grad_(any(images for images, _ in shown))
    if module.model.embedding.numbers is not None:
        module.model.embedding.numbers.requires_grad_(any(numbers for _, numbers in shown))
    return module


def fit(
    module: TrainingModule,
    training: TrainingConfig,
    index: ShardIndex,
    run: Path,
    *,
    audit: Path | None,
    timeout_s: float,
) -> lightning.Trainer:
    """Train a model to the run's last step, from its last state if there is one.

    Args:
        module: The model.
        training: The run's choices.
        index: The shards to train on.
        run: Folder of the run's log and states.
        audit: Folder that gets which sequences each process trains.
        timeout_s: How long a process waits for the others before it fails.

    Returns:
        What trained it.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    states = find_states(run)
    if states:
        print(f"going on from step {step_of(states[-1])}", flush=True)
    may_lack = len(_find_shown(index)) > 1
    trainer = make_trainer(training, run, may_lack_inputs=may_lack, audit=audit, timeout_s=timeout_s)
    data = WindowDataModule(index, get_preset(training.preset), training)
    gc.freeze()  # a look through all that was imported would hold up a step every now and then
    with fast_float32():
        trainer.fit(module, datamodule=data, ckpt_path=states[-1] if states else None, weights_only=False)
    return trainer


def _find_shown(index: ShardIndex) -> set[tuple[bool, bool]]:
    """Return which tasks show images and which numbers: the combinations that occur."""
    return {(bool(layout["image"]), bool(layout["numbers"])) for layout in (index[task].layout for task in index)}
