from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from db1_model.config import TrainingConfig
from db1_model.sharding import ShardedStrategy
from db1_model.training import learning_rate_at
from db1_model.training_log import read_training_log
from storage.manifest import write_atomically


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
