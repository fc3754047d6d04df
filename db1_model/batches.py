from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.loss import find_loss_places
from db1_model.mixture import Mixture, mix
from db1_model.positions import StepPositions, TokenSequence
from db1_model.sequence import StepLayout
from db1_model.weights import share_tasks
from db1_model.windows import StoredEpisodes, Window, Windows, copy_window, draw_visits, read_window, stack_orders


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

    ``mixture`` says which task a position trains; ``windows`` and ``places`` are those of each task, in their order.
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
        self.places = [_place(name, layout, config) for name, layout in zip(names, layouts, strict=True)]
        self._length = config.context_length
        self.windows = [
            Windows(
                task,
                places,
                prompt_share=prompt_share,
                pack=pack,
                key=mix(seed, *name.encode()),
                num_tasks=len(names),
            )
            for name, task, places in zip(names, self._tasks, self.places, strict=True)
        ]
        self._orders = stack_orders(self.windows)

    def __len__(self) -> int:
        return self.num_positions

    def __getitem__(self, position: int) -> TokenSequence:
        """Return the training sequence of a global position."""
        ((task, window),) = self.find([position])
        rows, images = read_window(window, self._tasks[task])
        return self.places[task].build_sequence(rows, images, prompt=window.prompt)

    def __getitems__(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """Return the batch of some global positions.

        Returns:
            ``tokens`` and ``positions`` (int32), ``labels`` (int64) and ``loss_mask`` (bool) of shape (batch, length);
            ``num_tokens`` (batch,), those before the padding; ``loss_places``, the flat indices of the loss mask's
            positions; ``numbers`` (runs, numbers a position) if there is a run; ``patches`` (patches, 3, size, size),
            ``patch_rows`` and ``patch_columns`` (patches, 2) if there is a patch. Runs and patches are in the order of
            their places, row by row. A label that is no token (a patch or a run, never in the loss) is 0.
        """
        shape = len(positions), self._length
        tokens, local = np.empty(shape, np.int32), np.empty(shape, np.int32)
        loss_mask, labels = np.empty(shape, np.bool_), np.empty(shape, np.int64)
        num_tokens = np.empty(len(positions), np.int64)
        more: dict[int, tuple[NDArray[Any], ...]] = {}
        found, rows_of = self.find(positions), defaultdict(list)
        for row, (task, _) in enumerate(found):
            rows_of[task].append(row)
        for task, rows in rows_of.items():
            places, windows = self.places[task], [found[row][1] for row in rows]
            counts = [window.num_transitions for window in windows]
            steps = np.empty((len(rows), max(counts), places.layout.step_tokens), np.uint16)
            for number, (row, window) in enumerate(zip(rows, windows, strict=True)):
                if places.has_more:
                    read, images = read_window(window, self._tasks[task])
                    steps[number, : counts[number]] = read
                    more[row] = places.place_more(read, images)
                else:
                    copy_window(window, self._tasks[task], steps[number])
            where, prompts = np.array(rows), np.array([window.prompt for window in windows])
            places.place_sequences(steps, np.array(counts), prompts, where, tokens, local, loss_mask, labels)
            num_tokens[where] = np.minimum(np.array(counts) * places.num_positions, self._length)
        if more:
            np.maximum(labels, 0, out=labels)
        arrays = {"tokens": tokens, "positions": local, "loss_mask": loss_mask, "labels": labels}
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch["num_tokens"] = torch.from_numpy(num_tokens)
        batch["loss_places"] = find_loss_places(batch["loss_mask"])
        names = "numbers", "patches", "patch_rows", "patch_columns"
        parts = zip(*(more[row] for row in sorted(more)), strict=True)
        joined = {name: torch.from_numpy(np.concatenate(part)) for name, part in zip(names, parts, strict=False)}
        return batch | {name: tensor for name, tensor in joined.items() if len(tensor)}

    def find(self, positions: Sequence[int]) -> list[tuple[int, Window]]:
        """Return the task and the window of each of some global positions; no tokens are read."""
        tasks, visits = zip(*map(self.mixture.at, positions), strict=True)
        draws = draw_visits(self._orders, np.array(tasks), np.array(visits))
        return [(task, self.windows[task].cut(*draw)) for task, draw in zip(tasks, draws, strict=True)]


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
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=_as_it_is, num_workers=num_workers)


def _place(task: str, layout: StepLayout, config: ModelConfig) -> StepPositions:
    try:
        return StepPositions(layout, config)
    except ValueError as error:
        raise ValueError(f"task {task!r}: {error}") from error


def _as_it_is(batch: Any) -> Any:
    return batch
