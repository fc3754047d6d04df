from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.loss import find_loss_places
from db1_model.mixture import Mixture, mix, share_tasks
from db1_model.positions import StepPositions, TokenSequence
from db1_model.sequence import StepLayout
from db1_model.windows import StoredEpisodes, Windows, read_window


class StoredTask(StoredEpisodes, Protocol):
    """A task's tokenized episodes and their layout, such as ``storage.shards.ShardedTask``."""

    layout: dict[str, Any]


class WindowDataset(Dataset[TokenSequence]):
    """The training sequences of an endless run, by global position.

    What stands at a position depends on the shards, the weights, the seed and the position alone: not on the number of
    processes, nor on where a run was stopped and went on.

    Args:
        tasks: The tokenized episodes, by task id; such as ``storage.shards.ShardIndex``.
        config: The model.
        num_positions: Positions of the run, which is the data set's length.
        seed: Determines the order.
        weights: Shares of tasks, as in ``share_tasks``.
        prompt_share: Probability that a sequence begins with a prompt.
        pack: Whether to fill sequences with further episodes of their task, instead of padding as DB1 does.

    Raises:
        ValueError: If a step of a task does not fit into the context, the tasks were tokenized with different
            vocabularies, or a weight is of no task.
    """

    def __init__(
        self,
        tasks: Mapping[str, StoredTask],
        config: ModelConfig,
        *,
        num_positions: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        prompt_share: float = 0.25,
        pack: bool = True,
    ) -> None:
        names = list(tasks)
        self.mixture = Mixture(share_tasks(names, weights))
        self.num_positions = num_positions
        self._tasks = [tasks[name] for name in names]
        layouts = [StepLayout.from_json(task.layout) for task in self._tasks]
        for name, layout in zip(names, layouts, strict=True):
            if layout.vocabulary_digest != layouts[0].vocabulary_digest:
                raise ValueError(
                    f"task {name!r} was tokenized with vocabulary {layout.vocabulary_digest[:12]}, task {names[0]!r} "
                    f"with {layouts[0].vocabulary_digest[:12]}; tokenize both with one tokenizer and preset"
                )
        self._places = [_place(name, layout, config) for name, layout in zip(names, layouts, strict=True)]
        self._windows = [
            Windows(
                task.episode_lengths,
                places,
                prompt_share=prompt_share,
                pack=pack,
                key=mix(seed, *name.encode()),
            )
            for name, task, places in zip(names, self._tasks, self._places, strict=True)
        ]

    def __len__(self) -> int:
        return self.num_positions

    def __getitem__(self, position: int) -> TokenSequence:
        """Return the training sequence of a global position."""
        task, visit = self.mixture.at(position)
        return read_window(self._windows[task].at(visit), self._tasks[task], self._places[task])


class StepSampler(Sampler[list[int]]):
    """The global positions of every optimiser step that this process takes part in, step by step.

    Step s trains the positions s * batch .. (s + 1) * batch - 1; the process of rank r takes every ``world_size``-th of
    them, so that together the processes train the same positions whatever their number.

    Its length counts the whole run's steps, also when it starts later: Lightning restores how many batches it has taken
    and ends the epoch, to begin again at ``first_step``, when that reaches the length.

    Args:
        num_steps: Steps of the whole run.
        batch: Positions of a step, over all processes.
        first_step: Steps already taken.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ValueError: If the processes cannot share a step's positions equally.
    """

    def __init__(self, num_steps: int, batch: int, *, first_step: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if batch % world_size:
            raise ValueError(f"{batch} sequences a step for {world_size} processes; expected a multiple of it")
        self.num_steps, self.batch, self.first_step = num_steps, batch, first_step
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.num_steps):
            yield list(range(step * self.batch + self.rank, (step + 1) * self.batch, self.world_size))


def collate(sequences: Sequence[TokenSequence]) -> dict[str, Tensor]:
    """Join sequences into a batch.

    Returns:
        ``tokens``, ``positions``, ``labels`` (int64) and ``loss_mask`` (bool) of shape (batch, length); ``num_tokens``
        (batch,), those before the padding; ``loss_places``, the flat indices of the loss mask's positions; ``numbers``
        (runs, numbers a position) if there is a run; ``patches`` (patches, 3, size, size), ``patch_rows`` and
        ``patch_columns`` (patches, 2) if there is a patch. Runs and patches are in the order of their places, row by
        row. A label that is no token (a patch or a run, never in the loss) is 0.
    """
    batch = {
        name: torch.from_numpy(np.stack([getattr(sequence, name) for sequence in sequences]))
        for name in ("tokens", "positions", "loss_mask", "labels")
    }
    batch["labels"].clamp_(min=0)
    batch["num_tokens"] = torch.tensor([sequence.num_tokens for sequence in sequences])
    batch["loss_places"] = find_loss_places(batch["loss_mask"])
    if any(len(sequence.numbers) for sequence in sequences):
        batch["numbers"] = _join(sequences, "numbers")
    if any(len(sequence.patches) for sequence in sequences):
        batch |= {name: _join(sequences, name) for name in ("patches", "patch_rows", "patch_columns")}
    return batch


def make_loader(
    tasks: Mapping[str, StoredTask],
    config: ModelConfig,
    training: TrainingConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    first_step: int = 0,
    num_workers: int = 0,
) -> DataLoader:
    """Make the batches of a run, one an optimiser step, from its first untaken step to its last.

    Args:
        tasks: The tokenized episodes, by task id.
        config: The model.
        training: ``steps``, ``batch_windows``, ``seed``, ``weights`` and ``prompt_share`` are read.
        rank: This process.
        world_size: Number of processes.
        first_step: Steps already taken.
        num_workers: Processes that build batches; with 0 the training process does.

    Raises:
        ValueError: As ``WindowDataset`` and ``StepSampler`` do.
    """
    dataset = WindowDataset(
        tasks,
        config,
        num_positions=training.steps * training.batch_windows,
        seed=training.seed,
        weights=training.weights,
        prompt_share=training.prompt_share,
        pack=training.pack,
    )
    sampler = StepSampler(
        training.steps, training.batch_windows, first_step=first_step, rank=rank, world_size=world_size
    )
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=num_workers)


def _place(task: str, layout: StepLayout, config: ModelConfig) -> StepPositions:
    try:
        return StepPositions(layout, config)
    except ValueError as error:
        raise ValueError(f"task {task!r}: {error}") from error


def _join(sequences: Sequence[TokenSequence], name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([getattr(sequence, name) for sequence in sequences]))
