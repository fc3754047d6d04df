from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from db1_model.batches import WindowDataset, make_loader
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.weights import share_tasks
from db1_model.windows import Window
from storage.shard_index import ShardedTask


@dataclass(frozen=True)
class TaskExposure:
    """What a training run has seen of a task.

    Args:
        task: Its id.
        requested_share: Share of the sequences that the weights ask for.
        realised_share: Share of the sequences that it got.
        windows: Sequences that it got.
        epochs: How often its data were gone through.
        tokens: Tokens of its sequences before their padding, prompts among them.
    """

    task: str
    requested_share: float
    realised_share: float
    windows: int
    epochs: float
    tokens: int


def share_stored_tasks(tasks: Mapping[str, ShardedTask], training: TrainingConfig) -> dict[str, float]:
    """Return the share of each task in the training positions, adding up to 1.

    Args:
        tasks: The shards, by task id.
        training: Has the weights.

    Raises:
        ValueError: If the weights are of unknown tasks or families.
    """
    num_tokens = {name: task.num_transitions * task.step_tokens for name, task in tasks.items()}
    return dict(zip(tasks, share_tasks(list(tasks), training.weights, num_tokens=num_tokens), strict=True))


def measure_exposure(
    tasks: Mapping[str, ShardedTask], config: ModelConfig, training: TrainingConfig, *, steps: int
) -> list[TaskExposure]:
    """Return what the first steps of a run see of each task; exact, and a function of the arguments alone.

    No tokens are read. Packed sequences are all full, so the cost is O(tasks); sequences that are padded as DB1 does
    are looked at one by one, some 20 microseconds each.

    Args:
        tasks: The shards, by task id.
        config: The model.
        training: The run.
        steps: Optimiser steps taken.
    """
    shares = share_stored_tasks(tasks, training)
    dataset = make_loader(tasks, config, replace(training, weights=shares)).dataset
    if not isinstance(dataset, WindowDataset):
        raise TypeError(f"the loader is of a {type(dataset).__name__}; expected a WindowDataset")
    num_positions = steps * training.batch_windows
    exposures = []
    for place, (name, count) in enumerate(zip(shares, dataset.mixture.counts(num_positions), strict=True)):
        windows, length = dataset.windows[place], config.context_length
        if training.pack:
            tokens = count * length
        else:
            step = dataset.places[place].num_positions
            tokens = sum(min(_count_transitions(windows.at(visit)) * step, length) for visit in range(count))
        realised, epochs = count / max(1, num_positions), count / windows.windows_per_epoch
        exposures.append(TaskExposure(name, shares[name], realised, count, epochs, tokens))
    return exposures


def _count_transitions(window: Window) -> int:
    return sum(last - first for *_, first, last in window.stretches)
