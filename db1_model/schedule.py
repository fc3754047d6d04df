from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.layout import StepLayout
from db1_model.mixture import Mixture, mix
from db1_model.positions import StepPositions
from db1_model.weights import share_tasks
from db1_model.windows import StoredEpisodes, Window, Windows, draw_visits, stack_orders


class StoredTask(StoredEpisodes, Protocol):
    """A task's tokenized episodes and their layout, such as ``storage.shards.ShardedTask``."""

    layout: dict[str, Any]


class Schedule:
    """Which window of which task stands at each global position of an endless run; reads no tokens, needs no torch.

    What stands at a position depends on the shards, the weights, the seed and the position alone: not on the number of
    processes, nor on where a run was stopped and went on.

    Args:
        tasks: The tokenized episodes, by task id; such as ``storage.shards.ShardIndex``.
        config: The model.
        training: ``seed``, ``weights``, ``prompt_share`` and ``pack`` are read.

    Raises:
        ValueError: If a step of a task does not fit into the context, the tasks were tokenized with different
            vocabularies, or the weights are not of these tasks.

    ``mixture`` says which task a position trains; ``tasks``, ``shares`` (of the positions, adding up to 1), ``places``
    and ``windows`` are those of each task, in their order.
    """

    def __init__(self, tasks: Mapping[str, StoredTask], config: ModelConfig, training: TrainingConfig) -> None:
        names = list(tasks)
        self.tasks = list(tasks.values())
        layouts = [StepLayout.from_json(task.layout) for task in self.tasks]
        for name, layout in zip(names, layouts, strict=True):
            if layout.vocabulary_digest != layouts[0].vocabulary_digest:
                raise ValueError(
                    f"task {name!r} was tokenized with vocabulary {layout.vocabulary_digest[:12]}, task {names[0]!r} "
                    f"with {layouts[0].vocabulary_digest[:12]}; tokenize both with one tokenizer and preset"
                )
        num_tokens = {
            name: task.num_transitions * layout.step_tokens
            for name, task, layout in zip(names, self.tasks, layouts, strict=True)
        }
        self.shares = share_tasks(names, training.weights, num_tokens=num_tokens)
        self.mixture = Mixture(self.shares)
        self.places = [_place(name, layout, config) for name, layout in zip(names, layouts, strict=True)]
        self.windows = [
            Windows(
                task,
                places,
                prompt_share=training.prompt_share,
                pack=training.pack,
                key=mix(training.seed, *name.encode()),
                num_tasks=len(names),
            )
            for name, task, places in zip(names, self.tasks, self.places, strict=True)
        ]
        self._orders = stack_orders(self.windows)

    def find(self, positions: Sequence[int]) -> list[tuple[int, Window]]:
        """Return the number of the task and the window of each of some global positions."""
        tasks, visits = zip(*map(self.mixture.at, positions), strict=True)
        draws = draw_visits(self._orders, np.array(tasks), np.array(visits))
        return [(task, self.windows[task].cut(*draw)) for task, draw in zip(tasks, draws, strict=True)]


def _place(task: str, layout: StepLayout, config: ModelConfig) -> StepPositions:
    try:
        return StepPositions(layout, config)
    except ValueError as error:
        raise ValueError(f"task {task!r}: {error}") from error
