from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from db1_model.batches import split_batch
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.sharding import ShardedStrategy, shard, touch_missing_inputs
from db1_model.transformer import DB1


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
