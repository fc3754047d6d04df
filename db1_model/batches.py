from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.loss import find_loss_places
from db1_model.positions import NUMBERS, PATCH, TokenSequence
from db1_model.schedule import Schedule, StoredTask
from db1_model.windows import copy_window, read_window


class WindowDataset(Dataset[TokenSequence]):
    """The training sequences of a run, by global position.

    Args:
        schedule: Which window stands at each position.
        num_positions: Positions of the run, which is the data set's length.
    """

    def __init__(self, schedule: Schedule, num_positions: int) -> None:
        self.schedule, self.num_positions = schedule, num_positions

    def __len__(self) -> int:
        return self.num_positions

    def __getitem__(self, position: int) -> TokenSequence:
        """Return the training sequence of a global position."""
        ((task, window),) = self.schedule.find([position])
        rows, images = read_window(window, self.schedule.tasks[task])
        return self.schedule.places[task].build_sequence(rows, images, prompt=window.prompt)

    def __getitems__(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """Return the batch of some global positions.

        Returns:
            ``tokens`` and ``positions`` (int32), ``labels`` (int64) and ``loss_mask`` (bool) of shape (batch, length);
            ``num_tokens`` (batch,), those before the padding; ``loss_places``, the flat indices of the loss mask's
            positions; ``numbers`` (runs, numbers a position) if there is a run; ``patches`` (patches, 3, size, size),
            ``patch_rows`` and ``patch_columns`` (patches, 2) if there is a patch. Runs and patches are in the order of
            their places, row by row. A label that is no token (a patch or a run, never in the loss) is 0.
        """
        schedule = self.schedule
        length = schedule.places[0].context_length
        shape = len(positions), length
        tokens, local = np.empty(shape, np.int32), np.empty(shape, np.int32)
        loss_mask, labels = np.empty(shape, np.bool_), np.empty(shape, np.int64)
        num_tokens = np.empty(len(positions), np.int64)
        more: dict[int, tuple[NDArray[Any], ...]] = {}
        found, rows_of = schedule.find(positions), defaultdict(list)
        for row, (task, _) in enumerate(found):
            rows_of[task].append(row)
        for task, rows in rows_of.items():
            places, windows = schedule.places[task], [found[row][1] for row in rows]
            counts = [window.num_transitions for window in windows]
            steps = np.empty((len(rows), max(counts), places.layout.step_tokens), np.uint16)
            for number, (row, window) in enumerate(zip(rows, windows, strict=True)):
                if places.has_more:
                    read, images = read_window(window, schedule.tasks[task])
                    steps[number, : counts[number]] = read
                    more[row] = places.place_more(read, images)
                else:
                    copy_window(window, schedule.tasks[task], steps[number])
            where, prompts = np.array(rows), np.array([window.prompt for window in windows])
            places.place_sequences(steps, np.array(counts), prompts, where, tokens, local, loss_mask, labels)
            num_tokens[where] = np.minimum(np.array(counts) * places.num_positions, length)
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


def split_batch(batch: Mapping[str, Tensor], size: int) -> Iterator[Mapping[str, Tensor]]:
    """Yield a batch in parts of at most ``size`` sequences; whole when ``size`` is 0.

    Args:
        batch: As ``WindowDataset`` returns it; a GPU is waited for once, to count the runs and patches of each part.
        size: Sequences of a part.
    """
    rows = len(batch["tokens"])
    if not 0 < size < rows:
        yield batch
        return
    places = {"numbers": NUMBERS, "patches": PATCH, "patch_rows": PATCH, "patch_columns": PATCH}
    chunks = batch["tokens"].split(size)
    counts = {token: torch.stack([(chunk == token).sum() for chunk in chunks]).tolist() for token in (NUMBERS, PATCH)}
    parts = {
        name: tensor.split(counts[places[name]] if name in places else size)
        for name, tensor in batch.items()
        if name != "loss_places"
    }
    for number in range(len(chunks)):
        part = {name: of_parts[number] for name, of_parts in parts.items()}
        yield {name: tensor for name, tensor in part.items() if name not in places or len(tensor)}


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
        ValueError: As ``Schedule`` and ``StepSampler`` do.
    """
    dataset = WindowDataset(Schedule(tasks, config, training), training.steps * training.batch_windows)
    sampler = StepSampler(
        training.steps, training.batch_windows, first_step=first_step, rank=rank, world_size=world_size
    )
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=_as_it_is, num_workers=num_workers)


def _as_it_is(batch: Any) -> Any:
    return batch
