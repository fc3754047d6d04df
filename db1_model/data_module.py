from __future__ import annotations

from typing import Any

import lightning
from torch.utils.data import DataLoader

from db1_model.batches import make_loader
from db1_model.config import ModelConfig, TrainingConfig
from storage.shards import ShardIndex


class WindowDataModule(lightning.LightningDataModule):
    """The batches of a training run, which goes on after a stop with any number of processes and workers.

    Lightning keeps the state of rank 0 alone and counts a prefetched batch as taken. So the state is what no rank and
    no worker changes: the first global position that is not trained yet, and what it is a position of. Every process
    takes its own slice of the positions from there on.

    Args:
        index: The shards.
        config: The model.
        training: The run.
    """

    def __init__(self, index: ShardIndex, config: ModelConfig, training: TrainingConfig) -> None:
        super().__init__()
        self.first_step = 0
        self._index, self._config, self._training = index, config, training

    def train_dataloader(self) -> DataLoader:
        """Return this process's batches from the first untaken step on.

        Raises:
            ValueError: If the weights do not fit the shards.
        """
        trainer, training = self._require_trainer(), self._training
        return make_loader(
            self._index,
            self._config,
            training,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            first_step=self.first_step,
            num_workers=training.num_workers,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the first untrained position, and what it is a position of."""
        position = self._require_trainer().global_step * self._training.batch_windows
        return {**self._sequence(), "position": position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a state was saved.

        Raises:
            ValueError: If it is a position in another sequence: of other shards, of another seed or batch.
        """
        for name, expected in self._sequence().items():
            if (found := state_dict.get(name)) != expected:
                raise ValueError(
                    f"the training state is of {name} {found!r}, expected {expected!r}; begin anew with:\n"
                    f"  db1 make checkpoint --experiment {self._index.manifest.name}"
                )
        self.first_step = state_dict["position"] // self._training.batch_windows

    def _sequence(self) -> dict[str, Any]:
        return {"shards": self._index.digest, "seed": self._training.seed, "batch": self._training.batch_windows}

    def _require_trainer(self) -> lightning.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data module has no trainer; hand both to Trainer.fit")
        return self.trainer
