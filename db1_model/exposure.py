from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.schedule import Schedule, StoredTask
from db1_model.windows import Window


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


def measure_exposure(
    tasks: Mapping[str, StoredTask], config: ModelConfig, training: TrainingConfig, *, steps: int
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
    schedule, length = Schedule(tasks, config, training), config.context_length
    num_positions = steps * training.batch_windows
    counts = schedule.mixture.counts(num_positions)
    exposures = []
    for name, share, count, windows, places in zip(
        tasks, schedule.shares, counts, schedule.windows, schedule.places, strict=True
    ):
        if training.pack:
            tokens = count * length
        else:
            step = places.num_positions
            tokens = sum(min(_count_transitions(windows.at(visit)) * step, length) for visit in range(count))
        realised, epochs = count / max(1, num_positions), count / windows.windows_per_epoch
        exposures.append(TaskExposure(name, share, realised, count, epochs, tokens))
    return exposures


def _count_transitions(window: Window) -> int:
    return sum(last - first for *_, first, last in window.stretches)
