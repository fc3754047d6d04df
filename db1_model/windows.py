from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from db1_model.layout import StepLayout
from db1_model.mixture import mix, permute
from db1_model.positions import StepPositions
from storage.tokens import TokenEpisode

BEST_SHARE = 0.1
"""Share of a task's episodes, by return, that evaluation prompts come from."""

SHUFFLE_BYTES = 64 << 20
"""Data of all tasks together within which windows are permuted freely; half of what a cache of the shards holds."""
CHUNK_BYTES = 1 << 20
"""Data that are read one after another; a sample is read twice where a chunk ends within it."""

_RESOLUTION = 2**32  # of the probability of a prompt


class StoredEpisodes(Protocol):
    """The tokenized episodes of a task end to end, such as ``storage.shards.ShardedTask``."""

    @property
    def num_transitions(self) -> int:
        """Transitions of all episodes."""
        ...

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """Transitions of each episode."""
        ...

    @property
    def total_returns(self) -> NDArray[np.float64]:
        """Return of each episode."""
        ...

    def steps(self, first: int, last: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        """Return the tokens and the images of transitions ``first..last - 1`` of all episodes end to end."""
        ...

    def episodes_near(self, step: int) -> Sequence[int]:
        """Return where the episodes that are stored together with a transition begin, and where the last ends."""
        ...

    def episode(self, index: int) -> TokenEpisode:
        """Return an episode."""
        ...


class Window(NamedTuple):
    """The transitions of one training sequence.

    Args:
        stretches: (first transition, transition after the last), in order; counted over all episodes end to end.
        prompt: The first transitions, which are a prompt: their actions are not in the loss.
    """

    stretches: tuple[tuple[int, int], ...]
    prompt: int

    @property
    def num_transitions(self) -> int:
        """Transitions of all stretches."""
        return sum([last - first for first, last in self.stretches])


class Windows:
    """Which transitions of a task each of its training sequences takes: a function of the key and the visit alone.

    Packed (``pack``), the task's episodes form a ring in stored order. An epoch cuts the ring, from a start drawn for
    the epoch, into stretches of as many transitions as fit into a sequence as a whole, and visits each once; a sequence
    with room for a part of the next transition shows that too. So nothing is padded, an epoch trains each transition
    once except fewer than one stretch's worth at its end, and over epochs these are spread evenly since the start is
    drawn uniformly. A prompt takes its room from the stretch, which then gives a part at an offset drawn uniformly:
    again no transition is preferred.

    Not packed, as in DB1: a window starts at every transition but an episode's last and ends with the episode; an epoch
    visits every window once.

    The order of an epoch is drawn in two levels, see ``db1_model.order.draw_windows``: within groups of
    ``SHUFFLE_BYTES`` (of all tasks together) that are made of chunks of at most ``CHUNK_BYTES`` from all over the task.
    A task that is smaller than its part of ``SHUFFLE_BYTES`` has one group, whose windows are permuted freely. A prompt
    comes from an episode that is stored near a window of the same group, so that it costs no further reading, and from
    one that the window does not show, unless there is no other.

    Args:
        task: The task's episodes.
        places: Where the task's steps stand in a sequence.
        prompt_share: Probability that a sequence begins with a prompt. Half of the prompts are the last transitions of
            an episode, half any stretch of it.
        pack: Whether to fill sequences with further episodes.
        key: Determines the order.
        num_tasks: Tasks that share ``SHUFFLE_BYTES``.
    """

    def __init__(
        self,
        task: StoredEpisodes,
        places: StepPositions,
        *,
        prompt_share: float,
        pack: bool,
        key: int,
        num_tasks: int = 1,
    ) -> None:
        self._task, self._pack = task, pack
        self._total = task.num_transitions
        self._prompt_transitions = places.prompt_transitions
        prompt_below = int(prompt_share * _RESOLUTION) if places.prompt_transitions else 0
        if pack:
            stride = max(1, (places.context_length + 1) // places.num_positions)
            self._transitions = -(-(places.context_length + 1) // places.num_positions)
            self.windows_per_epoch = max(1, self._total // stride)
            self._starts = np.zeros(0, np.int64)
        else:
            stride, lengths = 1, np.asarray(task.episode_lengths, np.int64)
            self._transitions = places.transitions
            self._starts = np.concatenate([[0], np.cumsum(np.maximum(lengths - 1, 1))])
            self._offsets = np.concatenate([[0], np.cumsum(lengths)])
            self.windows_per_epoch = int(self._starts[-1])
        chunk, group_chunks = _size_groups(places.layout, stride, num_tasks)
        chunk = min(chunk, self.windows_per_epoch)
        chunks = self.windows_per_epoch // chunk
        groups = -(-chunks // group_chunks)
        ring = self._total if pack else 0
        self.order = (key, self.windows_per_epoch, chunk, chunks, groups, prompt_below, ring, stride)
        """A row of ``db1_model.order.ORDER``."""

    def at(self, visit: int) -> Window:
        """Return the window of the task's visit number ``visit``, counted from 0."""
        return self.cut(*draw_visits(stack_orders([self]), np.zeros(1, np.int64), np.array([visit]))[0])

    def cut(self, start: int, near: int, prompted: bool, random: Sequence[int]) -> Window:
        """Return the window of a draw; see ``db1_model.order.DRAW`` for the arguments."""
        if self._pack:
            first, last = start, start + self._transitions
        else:
            first, last = self._find(start)
            near = self._find(near)[0]
        if not prompted:
            return Window(self._on_ring(first, last), 0)
        prompt = self._draw_prompt(first, last, near, random)
        size = prompt[1] - prompt[0]
        if (over := last - first + size - self._transitions) > 0:
            first += _draw_below(over + 1, random[3])
            last = first + self._transitions - size if self._pack else min(last, first + self._transitions - size)
        return Window((prompt, *self._on_ring(first, last)), size)

    def _on_ring(self, first: int, last: int) -> tuple[tuple[int, int], ...]:
        if last <= self._total:
            return ((first, last),)
        stretches = []
        while first < last:
            begin = first % self._total
            end = min(begin + last - first, self._total)
            stretches.append((begin, end))
            first += end - begin
        return tuple(stretches)

    def _find(self, number: int) -> tuple[int, int]:
        """Return the transitions of an unpacked window."""
        episode = int(self._starts.searchsorted(number, side="right")) - 1
        first = int(self._offsets[episode]) + number - int(self._starts[episode])
        return first, min(first + self._transitions, int(self._offsets[episode + 1]))

    def _draw_prompt(self, first: int, last: int, near: int, random: Sequence[int]) -> tuple[int, int]:
        begin, end = self._draw_episode(first, last, near, random[0])
        size = min(self._prompt_transitions, end - begin)
        start = end - size if random[1] >> 63 else begin + _draw_below(end - begin - size + 1, random[2])
        return start, start + size

    def _draw_episode(self, first: int, last: int, near: int, random: int) -> tuple[int, int]:
        offsets = self._task.episodes_near(near)
        drawn = _draw_below(len(offsets) - 1, random)
        passed = 0
        while passed < self._total:
            for place in (*range(drawn, len(offsets) - 1), *range(drawn)):
                begin, end = offsets[place], offsets[place + 1]
                if (end <= first or begin >= last) and (last <= self._total or begin >= last - self._total):
                    return begin, end
            passed += offsets[-1] - offsets[0]
            offsets, drawn = self._task.episodes_near(offsets[-1] % self._total), 0
        return offsets[0], offsets[1]


def stack_orders(windows: Sequence[Windows]) -> NDArray[np.void]:
    """Return the orders of tasks, as ``draw_visits`` takes them."""
    from db1_model.order import ORDER  # Dagster loads this file, and not numba

    return np.array([one.order for one in windows], ORDER)


def draw_visits(
    orders: NDArray[np.void], tasks: NDArray[np.int64], visits: NDArray[np.int64]
) -> list[tuple[int, int, bool, Sequence[int]]]:
    """Draw what ``Windows.cut`` takes, for visits to any of the tasks.

    Args:
        orders: What ``stack_orders`` returned.
        tasks: The task of each visit.
        visits: How many earlier visits to its task there were.
    """
    from db1_model.order import DRAW, draw_windows  # as above

    draws = np.empty(len(tasks), DRAW)
    draw_windows(orders, tasks, visits, draws)
    return list(zip(*(draws[name].tolist() for name in DRAW.names or ()), strict=True))


def read_window(window: Window, task: StoredEpisodes) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Return the tokens and the images of the transitions of a window."""
    if len(window.stretches) == 1:
        return task.steps(*window.stretches[0])
    return _join([task.steps(first, last) for first, last in window.stretches])


def copy_window(window: Window, task: StoredEpisodes, steps: NDArray[np.uint16]) -> None:
    """Write the tokens of the transitions of a window into the first rows of an array."""
    end = 0
    for first, last in window.stretches:
        begin, end = end, end + last - first
        steps[begin:end] = task.steps(first, last)[0]


def choose_prompt(
    task: StoredEpisodes, transitions: int, *, seed: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Choose the expert transitions that an evaluation episode is prompted with.

    They are the last transitions of episodes drawn from the best tenth by return (at least one episode), one after
    another, ending with an episode's end; best episodes repeat when they are too few to fill the prompt.

    Args:
        task: The task's episodes.
        transitions: How many; ``StepPositions.whole_steps`` fill a context.
        seed: Seed of the draw.

    Returns:
        Stored tokens of shape (transitions, tokens a step), and images (transitions, height, width, 3) or None.
    """
    returns = np.asarray(task.total_returns)
    best = np.argsort(-returns, kind="stable")[: max(1, int(BEST_SHARE * len(returns)))]
    parts: list[tuple[NDArray[np.uint16], NDArray[np.uint8] | None]] = []
    drawn = 0
    while transitions > 0:
        episode = task.episode(int(best[permute(drawn % len(best), len(best), mix(seed))]))
        first = max(0, len(episode) - transitions)
        parts.append((episode.tokens[first:], None if episode.images is None else episode.images[first:]))
        transitions -= len(episode) - first
        drawn += 1
    return _join(parts[::-1])


def _join(
    parts: list[tuple[NDArray[np.uint16], NDArray[np.uint8] | None]],
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    images = [shown for _, shown in parts if shown is not None]
    return np.concatenate([rows for rows, _ in parts]), np.concatenate(images) if images else None


def _size_groups(layout: StepLayout, stride: int, num_tasks: int) -> tuple[int, int]:
    """Return the windows of a chunk, and the chunks of a group."""
    image = layout.image
    step_bytes = 2 * layout.step_tokens + (0 if image is None else 3 * image.height * image.width)
    group = max(1, SHUFFLE_BYTES // num_tasks // (stride * step_bytes))
    chunk = min(group, max(1, CHUNK_BYTES // (stride * step_bytes)))
    return chunk, group // chunk


def _draw_below(bound: int, random: int) -> int:
    return random * bound >> 64
