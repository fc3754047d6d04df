from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from storage.episode import Episode, Leaf, Schema
from tasks.exchange.foreign import ForeignEpisode, describe, refuse
from tasks.task import Task, open_environment

_BY_KIND = "_observations"  # JAT names a column by the kind of its values


def translate(
    episodes: Iterable[ForeignEpisode], task: Task, schema: Schema, *, clip_actions: bool = False
) -> Iterator[Episode]:
    """Turn foreign episodes into a task's.

    Our environments show scaled numbers where foreign data have raw ones. An environment therefore may have two
    methods, each for one step: ``observe(raw)`` returns what it shows (its Dict) of what the original environment
    showed, and ``scale_action(raw)`` returns the action in [-1, 1] that stands for the original's. Without them
    columns and actions are taken as they are, which is refused when the environment wraps one with other spaces. What
    this pipeline exported is in the task's form already and taken as it is.

    A float64 becomes a float32. An episode whose source tells no seed gets -1, -2, ..., which no environment takes.

    Args:
        episodes: The episodes, in the order in which they are to be stored.
        task: The task whose episodes they are to be.
        schema: Its schema.
        clip_actions: Whether continuous actions beyond [-1, 1] are clipped, as most environments do with them. Each
            episode's provenance counts the numbers that were.

    Yields:
        The episodes; ``imported_from`` in the provenance names file, digest and place there.

    Raises:
        ForeignDataError: If an episode does not fit; the message names file, episode, column and step.
    """
    environment = open_environment(task)
    try:
        translator = _Translator(task, schema, environment, clip_actions)
        for position, episode in enumerate(episodes):
            yield translator.translate(episode, position)
    finally:
        environment.close()


class _Translator:
    def __init__(self, task: Task, schema: Schema, environment: gymnasium.Env, clip_actions: bool) -> None:
        self._task, self._schema, self._environment, self._clips = task, schema, environment, clip_actions
        self._observe = getattr(environment, "observe", None)
        self._scale_action = getattr(environment, "scale_action", None)
        self._original = environment.env if isinstance(environment, gymnasium.Wrapper) else None

    def translate(self, episode: ForeignEpisode, position: int) -> Episode:
        self._check(episode)
        observations = self._observations(episode)
        actions, num_clipped = self._actions(episode)
        origin: dict[str, Any] = {"file": episode.file.name, "sha256": episode.file.sha256, "episode": episode.index}
        if "imported_from" in episode.provenance:
            origin["imported_from"] = episode.provenance["imported_from"]
        if num_clipped:
            origin["clipped_actions"] = num_clipped
        return Episode(
            task=self._task.id,
            seed=-1 - position if episode.seed is None else int(episode.seed),
            observations=observations,
            actions=actions,
            rewards=np.asarray(episode.rewards, dtype=np.float64),
            terminated=episode.terminated,
            truncated=episode.truncated,
            provenance={**episode.provenance, "imported_from": origin},
        )

    def _check(self, episode: ForeignEpisode) -> None:
        columns = {**episode.columns(), episode.action_column: episode.actions, "rewards": episode.rewards}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) != 1 or not len(episode.rewards):
            refuse(
                episode.where, f"columns of {lengths} steps", "the same number in each, at least one", "mend the file"
            )
        for name, values in columns.items():
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                _check_range(values, -np.inf, np.inf, f"{episode.where}, column {name!r}", "mend the file")
        if episode.rewards.ndim != 1 or episode.rewards.dtype.kind not in "fiu":
            refuse(
                f"{episode.where}, column 'rewards'", describe(episode.rewards), "one number a step", "mend the file"
            )
        if (made_of := episode.exported_from) is not None:
            expected = {"task": self._task.id, "schema": self._schema.to_json()}
            if found := {key: made_of.get(key) for key, value in expected.items() if made_of.get(key) != value}:
                remedy = f"it was exported from another task or version; import it as {made_of.get('task')!r}"
                refuse(str(episode.file.path), f"{found}", f"{ {key: expected[key] for key in found} }", remedy)

    def _observations(self, episode: ForeignEpisode) -> dict[str, NDArray[Any]]:
        if episode.exported_from is None and self._observe is not None:
            return self._observe_all(episode)
        if episode.exported_from is None and self._original is not None:
            raw, shown = self._original.observation_space, self._environment.observation_space
            if raw != shown:
                self._mismatch(episode, f"{shown}, made of {raw}", f"give {self._class} a method observe(raw)")
        columns, named = episode.columns(), {}
        for column in columns:
            named.setdefault(self._key_of(column, len(columns)), []).append(column)
        if set(named) != set(self._schema.observations) or len(columns) != len(named):
            self._mismatch(
                episode, self._expected, f"give {self._class} a method observe(raw) that makes one of the other"
            )
        return {
            key: self._values(episode, columns[column], self._schema.observations[key], column)
            for key, (column,) in named.items()
        }

    def _observe_all(self, episode: ForeignEpisode) -> dict[str, NDArray[Any]]:
        raw = episode.observations
        space = None if self._original is None else self._original.observation_space
        if isinstance(space, spaces.Box) and not (isinstance(raw, np.ndarray) and raw.shape[1:] == space.shape):
            remedy = "take a data set of the same version of the environment"
            self._mismatch(episode, f"{space}, of which {self._class} makes {self._expected}", remedy)
        steps = []
        for step in range(len(episode.rewards)):
            try:
                steps.append(self._observe(_row(raw, step)))  # type: ignore[misc]
            except (ValueError, TypeError, KeyError, IndexError) as error:
                remedy = f"{self._class}.observe cannot read step {step} ({error!r:.200})"
                self._mismatch(episode, self._expected, remedy)
        return {key: np.stack([np.asarray(seen[key]) for seen in steps]) for key in sorted(steps[0])}

    def _actions(self, episode: ForeignEpisode) -> tuple[NDArray[Any], int]:
        leaf, values = self._schema.action, episode.actions
        where = f"{episode.where}, column {episode.action_column!r}"
        if leaf.kind == "discrete" or episode.exported_from is not None:
            return self._values(episode, values, leaf, episode.action_column), 0
        if self._scale_action is not None:
            values = np.stack([np.asarray(self._scale_action(row)) for row in values])
        else:
            self._check_units(episode, where)
        remedy = "--clip-actions clips them to [-1, 1], as most environments do"
        if values.dtype.kind not in "fiu" or values.shape[1:] != leaf.shape:
            refuse(where, describe(values), f"float32 of shape {leaf.shape}", "take the data of this task")
        actions = values.astype(np.float32)
        beyond = int((np.abs(actions) > 1.0).sum()) if self._clips else 0
        if self._clips:
            actions = np.clip(actions, -1.0, 1.0)
        _check_range(actions, leaf.low, leaf.high, where, remedy)
        return actions, beyond

    def _check_units(self, episode: ForeignEpisode, where: str) -> None:
        bounds = episode.action_bounds
        if self._original is not None and isinstance(space := self._original.action_space, spaces.Box):
            bounds = (space.low, space.high)
        if bounds is not None and not ((bounds[0] == -1.0).all() and (bounds[1] == 1.0).all()):
            found = f"actions in {bounds[0].min():g}..{bounds[1].max():g}"
            refuse(
                where, found, "in -1..1", f"give {self._class} a method scale_action(raw) that makes one of the other"
            )

    def _values(self, episode: ForeignEpisode, values: Any, leaf: Leaf, column: str) -> NDArray[Any]:
        where, remedy = f"{episode.where}, column {column!r}", "take the data of this task"
        if leaf.kind == "text":
            if isinstance(values, np.ndarray):
                refuse(where, describe(values), "text", remedy)
            return np.array(values, dtype=object)
        kinds, dtype = {"continuous": ("fiu", np.float32), "discrete": ("iu", np.int64), "image": ("u", np.uint8)}[
            leaf.kind
        ]
        fits = isinstance(values, np.ndarray) and values.dtype.kind in kinds and values.shape[1:] == leaf.shape
        if not fits or (leaf.kind == "image" and values.dtype != np.uint8):
            refuse(where, describe(values), f"{np.dtype(dtype)} of shape {leaf.shape}", remedy)
        cast = values.astype(dtype)
        if leaf.kind == "discrete":
            _check_range(cast, 0, leaf.num_values - 1, where, remedy)
        elif leaf.kind == "continuous":
            _check_range(cast, leaf.low, leaf.high, where, remedy)
        return cast

    def _key_of(self, column: str, num_columns: int) -> str:
        leaves = self._schema.observations
        key = column.removeprefix("observations/")
        if key not in leaves and num_columns == 1 and len(leaves) == 1 and "/" not in column:
            return next(iter(leaves))
        of_kind = [name for name, leaf in leaves.items() if f"{leaf.kind}{_BY_KIND}" == column]
        return of_kind[0] if key not in leaves and len(of_kind) == 1 else key

    @property
    def _class(self) -> str:
        return type(self._environment).__name__

    @property
    def _expected(self) -> str:
        return f"{ {key: _describe_leaf(leaf) for key, leaf in sorted(self._schema.observations.items())} }"

    def _mismatch(self, episode: ForeignEpisode, expected: str, remedy: str) -> NoReturn:
        found = {name: describe(values) for name, values in sorted(episode.columns().items())}
        refuse(f"{episode.where}, as {self._task.id!r}", f"the observations {found}", expected, remedy)


def _row(observations: Any, step: int) -> Any:
    """Return what was seen at one step, in the form of the observations."""
    if isinstance(observations, Mapping):
        return {key: _row(part, step) for key, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_row(part, step) for part in observations)
    return observations[step]


def _describe_leaf(leaf: Leaf) -> str:
    limits = {"continuous": f" in {leaf.low:g}..{leaf.high:g}", "discrete": f" in 0..{leaf.num_values - 1}"}
    return leaf.kind if leaf.kind == "text" else f"{leaf.kind} of shape {leaf.shape}{limits.get(leaf.kind, '')}"


def _check_range(values: NDArray[Any], low: float, high: float, where: str, remedy: str) -> None:
    sound = (values >= low) & (values <= high) & np.isfinite(values)
    if not sound.all():
        place = [int(i) for i in np.argwhere(~sound)[0]]
        at = f" at {place[1:]}" if len(place) > 1 else ""
        expected = f"a number in {low:g}..{high:g}" if np.isfinite([low, high]).any() else "a finite number"
        refuse(f"{where}, step {place[0]}{at}", f"{values[tuple(place)]}", expected, remedy)
