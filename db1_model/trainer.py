from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import lightning
from lightning.pytorch.strategies import DDPStrategy

from db1_model.audit import SequenceAudit
from db1_model.callbacks import TrainingLog, TrainingState, find_states, step_of
from db1_model.config import TrainingConfig
from db1_model.sharding import ShardedStrategy
from db1_model.training_log import log_path


def make_trainer(
    training: TrainingConfig, run: Path, *, may_lack_inputs: bool, audit: Path | None = None, timeout_s: float
) -> lightning.Trainer:
    """Make Lightning's trainer of a run, with our own log and training states in place of Lightning's.

    Args:
        training: The run's choices.
        run: Folder of the run's log and states.
        may_lack_inputs: Whether a batch may lack images or numbers, which another one has.
        audit: Folder that gets which sequences each process trains.
        timeout_s: How long a process waits for the others before it fails.
    """
    world_size = training.devices * training.num_nodes
    states = find_states(run)
    first_step = step_of(states[-1]) if states else 0
    if training.strategy == "fsdp":
        together = ShardedStrategy(world_size, timeout_s=timeout_s)
    else:
        together = DDPStrategy(
            timeout=timedelta(seconds=timeout_s), find_unused_parameters=may_lack_inputs, gradient_as_bucket_view=True
        )
    return lightning.Trainer(
        accelerator=training.accelerator,
        devices=training.devices,
        num_nodes=training.num_nodes,
        strategy=together if world_size > 1 else "auto",
        precision=training.number_format,
        max_steps=training.steps,
        gradient_clip_val=training.clip_norm,
        callbacks=[
            *([SequenceAudit(audit)] if audit else []),  # before the states, which then rest on what is written down
            TrainingLog(log_path(run), training, first_step=first_step, every_steps=max(1, training.steps // 200)),
            TrainingState(run, every_steps=training.checkpoint_every, keep=training.keep),
        ],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
