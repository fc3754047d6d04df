from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.mixture import Mixture, mix
from db1_model.positions import StepPositions
from db1_model.sequence import StepLayout
from db1_model.weights import share_tasks
from db1_model.windows import Windows
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
    num_tokens = {name: task.manifest.metadata["num_tokens"] for name, task in tasks.items()}
    return dict(zip(tasks, share_tasks(list(tasks), training.weights, num_tokens=num_tokens), strict=True))


def measure_exposure(
    tasks: Mapping[str, ShardedTask], config: ModelConfig, training: TrainingConfig, *, steps: int
) -> list[TaskExposure]:
    """Return what the first steps of a run see of each task; exact, and a function of the arguments alone.

    Nothing is read but the lengths of the episodes. Packed sequences are all full, so the cost is O(tasks); sequences
    that are padded as DB1 does are looked at one by one, some 20 microseconds each.

    Args:
        tasks: The shards, by task id.
        config: The model.
        training: The run.
        steps: Optimiser steps taken.
    """
    shares = share_stored_tasks(tasks, training)
    num_positions = steps * training.batch_windows
    counts = Mixture(list(shares.values())).counts(num_positions)
    exposures = []
    for (name, task), count in zip(tasks.items(), counts, strict=True):
        places = StepPositions(StepLayout.from_json(task.layout), config)
        key = mix(training.seed, *name.encode())
        prompt_share, pack = training.prompt_share, training.pack
        windows = Windows(task.episode_lengths, places, prompt_share=prompt_share, pack=pack, key=key)
        tokens = (
            count * config.context_length if pack else sum(_tokens(windows, visit, places) for visit in range(count))
        )
        realised, epochs = count / max(1, num_positions), count / windows.windows_per_epoch
        exposures.append(TaskExposure(name, shares[name], realised, count, epochs, tokens))
    return exposures


def _tokens(windows: Windows, visit: int, places: StepPositions) -> int:
    transitions = sum(last - first for _, first, last in windows.at(visit).stretches)
    return min(transitions * places.num_positions, places.context_length)
