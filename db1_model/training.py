from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from db1_model.batches import split_batch
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.sharding import ShardedStrategy, shard, touch_missing_inputs
from db1_model.training_log import read_training_log
from db1_model.transformer import DB1
from storage.manifest import write_atomically


def learning_rate_at(step: int, training: TrainingConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to the final rate.

    Args:
        step: Steps already taken, from 0 to ``training.steps``.
        training: The run's choices.

    Source:
        Gato (Reed et al., 2022) trains with linear warm-up and cosine decay.
    """
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    done = min(1.0, (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps))
    return training.final_learning_rate + 0.5 * (training.learning_rate - training.final_learning_rate) * (
        1 + math.cos(math.pi * done)
    )


class TrainingModule(lightning.LightningModule):
    """DB1 with its loss, optimiser and schedule.

    Args:
        config: The model.
        training: The run.
    """

    def __init__(self, config: ModelConfig, training: TrainingConfig) -> None:
        super().__init__()
        self.training_config = training
        self.model = DB1(config)
        self.model.choose_execution(
            attention=training.attention,
            checkpoint_activations=training.checkpoint_activations,
            compile_blocks=training.compile_blocks,
        )

    def configure_model(self) -> None:
        """Share the model out over the processes, where the strategy asks for it."""
        if isinstance(self.trainer.strategy, ShardedStrategy):
            shard(self.model, self.trainer.strategy.device_mesh["data_parallel"])

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Forget the last step's gradients, and seed the dropout.

        The seed is of (seed, step, rank), so that a resumed run drops what the uninterrupted one would.
        """
        self.trainer.optimizers[0].zero_grad()
        torch.manual_seed(hash((self.training_config.seed, self.global_step, self.global_rank)) & 0x7FFFFFFF)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradients of the micro-batches, which Lightning would drop after ``training_step``."""

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        """Return the mean cross-entropy over the action tokens of all ranks' batches, zero when there are none.

        The gradients of all micro-batches but the last are added up here; Lightning adds the last one's, and the
        ranks' sums.

        Returns:
            ``loss`` of the last micro-batch, whose gradients add up with the others' and over the ranks; ``mean_loss``,
            the number to show, equal on all ranks; and ``targets``, the mean number of these tokens in a rank's batch.
        """
        strategy = self.trainer.strategy
        mean_targets = strategy.reduce(batch["loss_mask"].sum().float(), reduce_op="mean")
        at_least_one = mean_targets.clamp(min=1 / self.trainer.world_size)
        *others, last = split_batch(batch, self.training_config.micro_batch)
        total = torch.zeros_like(mean_targets)
        for part in others:
            loss = self._share_of_loss(part, at_least_one)
            total += loss.detach()
            with torch.autocast(self.device.type, enabled=False):
                loss.backward()
        loss = self._share_of_loss(last, at_least_one)
        total += loss.detach()
        return {"loss": loss, "mean_loss": strategy.reduce(total, reduce_op="mean"), "targets": mean_targets}

    def _share_of_loss(self, part: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        loss = self.model.masked_loss(part) * (part["loss_mask"].sum() / targets)
        if isinstance(self.trainer.strategy, ShardedStrategy):
            loss = loss + touch_missing_inputs(self.model, part, self.trainer.strategy.reduce)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW, which decays matrices only, and the schedule.

        A step of AdamW moves every weight alike, and so a sum over more inputs the further: an image patch has 128
        times as many features as nano's hidden state. The learning rate of a convolution that sums over more inputs
        than the width is therefore less by that ratio. Without this, nano's captions of rooms of two things stood at
        0.94 nats a token after 430 steps, with it at 0.57.

        Source:
            Yang et al., "Tensor programs V: tuning large neural networks via zero-shot hyperparameter transfer", 2022.
        """
        training, width = self.training_config, self.model.config.width
        decayed, kept, wide = [], [], []
        for name, parameter in self.named_parameters():
            if parameter.ndim == 4 and (num_inputs := parameter[0].numel()) > width:
                rate = training.learning_rate * width / num_inputs
                wide.append({"params": [parameter], "weight_decay": 0.0, "lr": rate})
                continue
            matrix = parameter.ndim >= 2 and "embedding" not in name and "table" not in name
            (decayed if matrix else kept).append(parameter)
        groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": kept, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW([*groups, *wide], lr=training.learning_rate, betas=(0.9, 0.95), fused=True)
        scale = training.learning_rate
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_at(step, training) / scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class TrainingLog(lightning.Callback):
    """Writes a line of JSON and a line for people every few steps.

    Args:
        path: The log; lines after ``first_step`` are dropped as training begins, since a resumed run writes them again.
        training: The run.
        first_step: Steps that earlier runs have already taken.
        every_steps: Steps between two lines.
    """

    def __init__(self, path: Path, training: TrainingConfig, *, first_step: int, every_steps: int) -> None:
        self.path = path
        self.training = training
        self.every_steps = every_steps
        self._first_step = first_step
        self._losses: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._positions = self._tokens = 0
        self._since = time.perf_counter()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Drop what will be written again; the first process alone does, as the log is one for all."""
        self._losses = [loss.to(pl_module.device) for loss in self._losses]
        self._targets = [targets.to(pl_module.device) for targets in self._targets]
        if trainer.is_global_zero:
            kept = [row for row in read_training_log(self.path) if row["step"] <= self._first_step]
            write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Collect the step's loss; write when it is time."""
        if not trainer.is_global_zero:
            return
        self._losses.append(outputs["mean_loss"])
        self._targets.append(outputs["targets"])
        self._positions += batch["tokens"].numel() * trainer.world_size
        self._tokens += batch["num_tokens"].sum() * trainer.world_size
        step = trainer.global_step
        if step % self.every_steps and step != self.training.steps:
            return
        now = time.perf_counter()
        rate = self._positions / (now - self._since)
        row = {
            "step": step,
            "loss": round(float(torch.stack(self._losses).mean()), 6),
            "learning_rate": learning_rate_at(step, self.training),
            "positions_per_s": round(rate, 1),
            "padding_share": round(1 - float(self._tokens) / self._positions, 6),
            "batches_without_targets": int((torch.stack(self._targets) == 0).sum()),
        }
        with self.path.open("a") as log:
            log.write(json.dumps(row) + "\n")
        left_s = (self.training.steps - step) * (now - self._since) / len(self._losses)
        print(
            f"step {step}/{self.training.steps}  loss {row['loss']:.4f}  {rate / 1000:.1f} k positions/s  "
            f"{left_s / 60:.1f} min left",
            flush=True,
        )
        self._losses, self._targets, self._since = [], [], now
        self._positions = self._tokens = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what the next line will tell of the steps since the last one: a state may lie between two lines."""
        kept = {"losses": self._losses, "targets": self._targets}
        tensors = {name: torch.stack(values).cpu() if values else torch.zeros(0) for name, values in kept.items()}
        counted = {"positions": self._positions, "tokens": int(self._tokens)}
        return {**tensors, **counted, "seconds": time.perf_counter() - self._since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what ``state_dict`` returned."""
        self._losses, self._targets = list(state_dict["losses"]), list(state_dict["targets"])
        self._positions, self._tokens = state_dict["positions"], state_dict["tokens"]
        self._since = time.perf_counter() - state_dict["seconds"]


class TrainingState(lightning.Callback):
    """Saves weights, optimiser and step, so that a killed run goes on where it was.

    A state is written under a temporary name, synced and renamed; only the last ``keep`` stay.

    Args:
        folder: Where the states lie, ``step-<number>.ckpt`` each.
        every_steps: Steps between two states.
        keep: How many stay.
    """

    def __init__(self, folder: Path, *, every_steps: int, keep: int) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self.keep = keep

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare where the ranks go on, and let SIGTERM end each at once: a state is whole at any moment.

        Lightning would broadcast the signal, and so wait for a rank that is gone.

        Raises:
            RuntimeError: If this rank found another state than rank 0.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        step, first = trainer.global_step, trainer.strategy.broadcast(trainer.global_step)
        if step != first:
            raise RuntimeError(
                f"rank {trainer.global_rank} goes on from step {step}, rank 0 from step {first}; expected the same "
                f"states in {self.folder} on all nodes: put the data on a file system that they share, and try again:\n"
                "  db1 make checkpoint"
            )

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time."""
        if trainer.global_step % self.every_steps == 0:
            self.save(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """See that all ranks have trained the same model."""
        require_equal_parameters(trainer)

    def save(self, trainer: lightning.Trainer) -> None:
        """Save the present state; every rank must call it.

        Raises:
            RuntimeError: If the ranks have drifted apart.
        """
        require_equal_parameters(trainer)
        final = self.folder / f"step-{trainer.global_step:08d}.ckpt"
        temporary = final.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.rename(final)
            for old in find_states(self.folder)[: -self.keep]:
                old.unlink()
        trainer.strategy.barrier()


def require_equal_parameters(trainer: lightning.Trainer) -> None:
    """Compare a checksum of each parameter's bits over the ranks; every rank must call it.

    What is shared out over the ranks exists once, and has nothing to be compared with.

    Raises:
        RuntimeError: If the ranks have drifted apart, as by a fault of the hardware or of the network.
    """
    if trainer.world_size == 1 or isinstance(trainer.strategy, ShardedStrategy):
        return
    module = trainer.lightning_module
    bits = [parameter.detach().float().view(torch.int32).sum(dtype=torch.int64) for parameter in module.parameters()]
    of_ranks = module.all_gather(torch.stack(bits))  # (ranks, parameters)
    if others := [rank for rank, one in enumerate(of_ranks) if (one != of_ranks[0]).any()]:
        raise RuntimeError(
            f"after step {trainer.global_step} ranks {', '.join(map(str, others))} have other parameters than rank 0; "
            "expected equal ones; go on from the last sound state with:\n  db1 make checkpoint"
        )


def find_states(folder: Path) -> list[Path]:
    """Return the complete training states of a folder, oldest first."""
    return sorted(folder.glob("step-*.ckpt"))


def step_of(state: Path) -> int:
    """Return the number of optimiser steps that a training state was saved after."""
    return int(state.stem.removeprefix("step-"))
