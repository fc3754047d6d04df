from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from db1_model.mixture import draw_below, mix, permute
from db1_model.positions import StepPositions, TokenSequence
from storage.tokens import TokenEpisode

BEST_SHARE = 0.1
"""Share of a task's episodes, by return, that evaluation prompts come from."""

_RESOLUTION = 2**32  # of the probability of a prompt
_PHASE, _PROMPT, _PROMPT_EPISODE, _PROMPT_END, _PROMPT_START, _OFFSET = range(6)


class StoredEpisodes(Protocol):
    """The tokenized episodes of a task, such as ``storage.shards.ShardedTask``."""

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """Transitions of each episode."""
        ...

    @property
    def total_returns(self) -> NDArray[np.float64]:
        """Return of each episode."""
        ...

    def episode(self, index: int) -> TokenEpisode:
        """Return an episode."""
        ...


@dataclass(frozen=True)
class Window:
    """The transitions of one training sequence.

    Args:
        stretches: (episode, first transition, transition after the last), in order.
        prompt: The first transitions, which are a prompt: their actions are not in the loss.
    """

    stretches: tuple[tuple[int, int, int], ...]
    prompt: int


class Windows:
    """Which transitions of a task each of its training sequences takes: a function of the key and the visit alone.

    Packed (``pack``), the task's episodes form a ring in stored order. An epoch cuts the ring, from a start drawn for
    the epoch, into stretches of as many transitions as fit into a sequence as a whole, and visits them in permuted
    order; a sequence that has room for a part of the next transition shows that too. So nothing is padded, an epoch
    trains each transition once except fewer than one stretch's worth at its end, and over epochs these are spread
    evenly since the start is drawn uniformly. A prompt takes its room from the stretch, which then gives a part at an
    offset drawn uniformly: again no transition is preferred.

    Not packed, as in DB1: a window starts at every transition but an episode's last and ends with the episode; an epoch
    visits every window once, in permuted order.

    Args:
        episode_lengths: Transitions of each episode of the task.
        places: Where the task's steps stand in a sequence.
        prompt_share: Probability that a sequence begins with a prompt. Half of the prompts are the last transitions of
            an episode drawn uniformly, half any stretch of it.
        pack: Whether to fill sequences with further episodes.
        key: Determines the order.
    """

    def __init__(
        self,
        episode_lengths: NDArray[np.int64],
        places: StepPositions,
        *,
        prompt_share: float,
        pack: bool,
        key: int,
    ) -> None:
        self._lengths = np.asarray(episode_lengths, np.int64)
        self._pack = pack
        self._key = key
        self._prompt_below = int(prompt_share * _RESOLUTION) if places.prompt_transitions else 0
        self._prompt_transitions = places.prompt_transitions
        starts = self._lengths if pack else np.maximum(self._lengths - 1, 1)
        self._offsets = np.concatenate([[0], np.cumsum(starts)])
        total = int(self._offsets[-1])
        if pack:
            self._stride = max(1, (places.context_length + 1) // places.num_positions)
            self._transitions = -(-(places.context_length + 1) // places.num_positions)
            self.windows_per_epoch = max(1, total // self._stride)
        else:
            self._transitions = places.transitions
            self.windows_per_epoch = total

    def at(self, visit: int) -> Window:
        """Return the window of the task's visit number ``visit``, counted from 0."""
        epoch, index = divmod(visit, self.windows_per_epoch)
        index = permute(index, self.windows_per_epoch, mix(self._key, epoch))
        prompt = self._draw_prompt(visit)
        room = self._transitions - (prompt[2] - prompt[1] if prompt else 0)
        if self._pack:
            start = draw_below(int(self._offsets[-1]), self._key, epoch, _PHASE) + index * self._stride
            if prompt:
                start += draw_below(self._transitions - room + 1, self._key, visit, _OFFSET)
            stretches = self._walk(start % int(self._offsets[-1]), room)
        else:
            stretches = (self._window(index, room, visit),)
        if prompt:
            return Window((prompt, *stretches), prompt[2] - prompt[1])
        return Window(stretches, 0)

    def _walk(self, start: int, transitions: int) -> tuple[tuple[int, int, int], ...]:
        episode = int(self._offsets.searchsorted(start, side="right")) - 1
        first = start - int(self._offsets[episode])
        stretches = []
        while transitions > 0:
            last = min(first + transitions, int(self._lengths[episode]))
            stretches.append((episode, first, last))
            transitions -= last - first
            episode, first = (episode + 1) % len(self._lengths), 0
        return tuple(stretches)

    def _window(self, index: int, room: int, visit: int) -> tuple[int, int, int]:
        episode = int(self._offsets.searchsorted(index, side="right")) - 1
        first = index - int(self._offsets[episode])
        last = min(first + self._transitions, int(self._lengths[episode]))
        if last - first > room:
            first += draw_below(last - first - room + 1, self._key, visit, _OFFSET)
            last = first + room
        return episode, first, last

    def _draw_prompt(self, visit: int) -> tuple[int, int, int] | None:
        if draw_below(_RESOLUTION, self._key, visit, _PROMPT) >= self._prompt_below:
            return None
        episode = draw_below(len(self._lengths), self._key, visit, _PROMPT_EPISODE)
        length = int(self._lengths[episode])
        size = min(self._prompt_transitions, length)
        if draw_below(2, self._key, visit, _PROMPT_END):
            first = length - size
        else:
            first = draw_below(length - size + 1, self._key, visit, _PROMPT_START)
        return episode, first, first + size


def read_window(window: Window, task: StoredEpisodes, places: StepPositions) -> TokenSequence:
    """Read the transitions of a window and build its training sequence."""
    parts = [(task.episode(episode), first, last) for episode, first, last in window.stretches]
    rows, images = _join(parts)
    return places.build_sequence(rows, images, prompt=window.prompt)


def choose_prompt(
    task: StoredEpisodes, transitions: int, *, seed: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """Choose the expert transitions that an evaluation episode is prompted with.

    They are the last transitions of episodes drawn from the best tenth by return (at least one episode), one after
    another, ending with an episode's end; best episodes repeat when they are too few to fill the prompt.

    Args:
        task: The task's episodes.
        transitions: How many; ``StepPositions.context_length // StepPositions.num_positions`` fill a context.
        seed: Seed of the draw.

    Returns:
        Stored tokens of shape (transitions, tokens a step), and images (transitions, height, width, 3) or None.
    """
    returns = np.asarray(task.total_returns)
    best = np.argsort(-returns, kind="stable")[: max(1, int(BEST_SHARE * len(returns)))]
    parts: list[tuple[TokenEpisode, int, int]] = []
    drawn = 0
    while transitions > 0:
        episode = task.episode(int(best[permute(drawn % len(best), len(best), mix(seed))]))
        first = max(0, len(episode) - transitions)
        parts.append((episode, first, len(episode)))
        transitions -= len(episode) - first
        drawn += 1
    return _join(parts[::-1])


def _join(parts: list[tuple[TokenEpisode, int, int]]) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    rows = [episode.tokens[first:last] for episode, first, last in parts]
    images = [episode.images[first:last] for episode, first, last in parts if episode.images is not None]
    return (
        rows[0] if len(rows) == 1 else np.concatenate(rows),
        (images[0] if len(images) == 1 else np.concatenate(images)) if images else None,
    )
