from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode, Leaf, Schema
from storage.manifest import making_command

MAX_DISCRETE = 1024
_DTYPES = {"continuous": np.dtype(np.float32), "discrete": np.dtype(np.int64), "image": np.dtype(np.uint8)}


def check_schema(schema: Schema, *, task: str) -> None:
    """Check that a schema can be stored.

    Args:
        schema: The schema.
        task: Id of the task that it is of, for the message.

    Raises:
        ValueError: If the name of an observation cannot name an array, a kind is unknown, or a discrete leaf has not
            1..1,024 values; the message names task and key.
    """
    for key in schema.observations:
        if not re.fullmatch(r"\w[\w.-]*", key):
            raise _error(f"observation {key!r} of task {task!r}", "that name", "letters, digits and ._-", task)
    for key, leaf in [*schema.observations.items(), ("action", schema.action)]:
        if leaf.kind not in (*_DTYPES, "text"):
            raise _error(f"{key!r} of task {task!r}", f"the kind {leaf.kind!r}", f"one of {[*_DTYPES, 'text']}", task)
        if leaf.kind == "discrete" and not 1 <= leaf.num_values <= MAX_DISCRETE:
            raise _error(f"{key!r} of task {task!r}", f"{leaf.num_values} values", f"1..{MAX_DISCRETE}", task)


def check_episode(episode: Episode, schema: Schema, *, task: str, index: int) -> None:
    """Check an episode against what its task says that every step looks like.

    Args:
        episode: The episode.
        schema: Its task's schema.
        task: Id of the task that it is to be stored under.
        index: Its place among the task's episodes, for the message.

    Raises:
        ValueError: If the task, the observations' keys, a dtype or a shape differ, or a number is not finite or out of
            range; the message names task, episode, step and key.
    """
    where = f"episode {index} (seed {episode.seed}) of task {task!r}"
    if episode.task != task:
        raise _error(where, f"task {episode.task!r}", f"{task!r}", task)
    if set(episode.observations) != set(schema.observations):
        raise _error(where, f"observations {sorted(episode.observations)}", f"{sorted(schema.observations)}", task)
    for key, leaf in schema.observations.items():
        _check_values(episode.observations[key], leaf, f"{where}, observation {key!r}", task)
    _check_values(episode.actions, schema.action, f"{where}, action", task)
    _check_array(episode.rewards, np.dtype(np.float64), (), f"{where}, reward", task)
    _check_range(episode.rewards, -np.inf, np.inf, f"{where}, reward", task)


def _check_values(values: NDArray[Any], leaf: Leaf, where: str, task: str) -> None:
    if leaf.kind == "text":
        for step, text in enumerate(values):
            if not isinstance(text, str):
                raise _error(f"{where}, step {step}", repr(text), "text", task)
        return
    _check_array(values, _DTYPES[leaf.kind], leaf.shape, where, task)
    if leaf.kind == "continuous":
        _check_range(values, leaf.low, leaf.high, where, task)
    elif leaf.kind == "discrete":
        _check_range(values, 0, leaf.num_values - 1, where, task)


def _check_array(values: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...], where: str, task: str) -> None:
    if values.dtype != dtype or values.shape[1:] != shape:
        raise _error(where, f"{values.dtype} of shape {values.shape[1:]} a step", f"{dtype} of shape {shape}", task)


def _check_range(values: NDArray[Any], low: float, high: float, where: str, task: str) -> None:
    # The comparison with NaN is false, so that one pass finds it too; an infinite bound still excludes infinity.
    sound = (values >= low) & (values <= high) & np.isfinite(values)
    if not sound.all():
        place = [int(i) for i in np.argwhere(~sound)[0]]
        at = f" at {place[1:]}" if len(place) > 1 else ""
        expected = f"a finite number in {low:g}..{high:g}" if np.isfinite([low, high]).any() else "a finite number"
        raise _error(f"{where}, step {place[0]}{at}", f"{values[tuple(place)]}", expected, task)


def _error(where: str, found: str, expected: str, task: str) -> ValueError:
    return ValueError(
        f"{where}: found {found}, expected {expected}; mend the task's environment or expert, then:"
        f"\n  {making_command('trajectories', task)}"
    )
