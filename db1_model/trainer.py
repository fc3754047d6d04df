from __future__ import annotations

from pathlib import Path

import lightning

from db1_model.audit import SequenceAudit
from db1_model.config import TrainingConfig
from db1_model.training import TrainingLog, TrainingState, find_states, step_of


def make_trainer(
    training: TrainingConfig, run: Path, *, has_images: bool, audit: Path | None = None
) -> lightning.Trainer:
    """Make Lightning's trainer of a run, with our own log and training states in place of Lightning's.

    Args:
        training: The run's choices.
        run: Folder of the run's log and states.
        has_images: Whether a task shows images; a batch may still lack them.
        audit: Folder that gets which sequences each process trains.
    """
    world_size = training.devices * training.num_nodes
    states = find_states(run)
    first_step = step_of(states[-1]) if states else 0
    strategy = "ddp_find_unused_parameters_true" if has_images else "ddp"
    return lightning.Trainer(
        accelerator=training.accelerator,
        devices=training.devices,
        num_nodes=training.num_nodes,
        strategy=strategy if world_size > 1 else "auto",
        precision=training.precision,
        max_steps=training.steps,
        gradient_clip_val=training.clip_norm,
        callbacks=[
            *([SequenceAudit(audit)] if audit else []),  # before the states, which then rest on what is written down
            TrainingLog(run / "log.jsonl", training, first_step=first_step, every_steps=max(1, training.steps // 200)),
            TrainingState(run, every_steps=training.checkpoint_every, keep=training.keep),
        ],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
