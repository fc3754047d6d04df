from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.arrays import ArrayWriter
from storage.cache import ByteCache
from storage.episode import Episode, Leaf, Schema
from storage.folder import StoredFiles, StoredFolder, stored_names
from storage.manifest import Manifest, canonical_json
from storage.stored_episodes import StoredEpisodes
from storage.validation import check_episode, check_schema

KIND = "trajectories"
_PROVENANCE_ROWS, _PROVENANCE_BYTES = 1024, 64 << 20  # that are read together, and kept


class TrajectoryStore:
    """Expert episodes in Zarr v3, one group a task.

    A group holds ``observations/<key>``, ``actions`` and ``rewards`` with one row a step, all episodes end to end;
    ``episode_offsets`` (episodes + 1); ``seeds``, ``terminated``, ``truncated``, ``total_returns`` and ``provenance``
    (JSON text) with one entry an episode; and the task and its schema in the attributes. Discrete values are stored as
    uint16, text as UTF-8 bytes (``utf8``) with the place where each string ends (``ends``).

    Args:
        root: Where the tasks lie, such as ``Locations().trajectories``.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self, task: str, recipe: Mapping[str, Any]) -> Manifest | None:
        """Return the manifest when the task's episodes are complete, sound and made from exactly this recipe."""
        return StoredFolder(self.root, KIND, task).find(recipe)

    def write(
        self,
        task: str,
        schema: Schema,
        episodes: Iterable[Episode],
        *,
        recipe: Mapping[str, Any],
        metadata: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    ) -> Manifest:
        """Write the episodes of a task in place of those that were there, in bounded memory.

        Steps wait until they fill a shard of 128 MiB, and about four of these are in memory while it is written.

        Args:
            task: Id of the task.
            schema: What every step looks like; every episode is checked against it.
            episodes: At least one episode, in the order in which they are stored.
            recipe: What the episodes are made from: configuration, code version, digests of inputs.
            metadata: Anything else worth knowing, or a function that returns it once the episodes are written. The
                numbers of episodes and transitions are added to it.

        Raises:
            ValueError: If an episode is of another task, or does not keep to the schema: a wrong dtype or shape, a
                number that is not finite or out of range. What was stored before stays.
        """
        check_schema(schema, task=task)

        def fill(folder: Path) -> Mapping[str, Any]:
            writer = ArrayWriter(folder, _attributes(task, schema))
            num_episodes, num_transitions = 0, 0
            writer.append("episode_offsets", np.zeros(1, dtype=np.int64))
            for episode in episodes:
                check_episode(episode, schema, task=task, index=num_episodes)
                num_episodes, num_transitions = num_episodes + 1, num_transitions + len(episode)
                writer.append("episode_offsets", np.array([num_transitions]))
                _append_episode(writer, episode, schema)
            if num_episodes == 0:
                raise ValueError(f"no episodes of task {task!r} to store; expected at least one")
            writer.close()
            given = metadata() if callable(metadata) else metadata
            return {**given, "num_episodes": num_episodes, "num_transitions": num_transitions}

        return StoredFolder(self.root, KIND, task).write(fill, recipe=recipe)

    def read(self, task: str) -> StoredTrajectory:
        """Open the episodes of a task.

        Raises:
            ManifestError: If they are missing, incomplete or damaged.
        """
        return StoredTrajectory(StoredFolder(self.root, KIND, task).open())

    def tasks(self) -> list[str]:
        """Return the sorted ids of the tasks that have episodes here."""
        return stored_names(self.root)


class StoredTrajectory(StoredEpisodes[Episode]):
    """The stored episodes of a task; a text is an array of str objects. See ``StoredEpisodes``."""

    _by_episode = ("seeds", "terminated", "truncated", "total_returns", "provenance/ends")

    def __init__(self, files: StoredFiles) -> None:
        super().__init__(files)
        self.schema = Schema.from_json(self._arrays.attributes["schema"])
        self._provenances: ByteCache[NDArray[np.object_]] = ByteCache(_PROVENANCE_BYTES)

    def steps(self, index: int) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
        """Return what an episode's steps observe, by key, and their actions; nothing else of it is read."""
        return self._restore_steps(self._read_steps(index))

    def _episode(self, index: int) -> Episode:
        steps = self._read_steps(index)
        observations, actions = self._restore_steps(steps)
        return Episode(
            task=self.manifest.name,
            seed=int(self.seeds[index]),
            observations=observations,
            actions=actions,
            rewards=steps["rewards"],
            terminated=bool(self._terminated[index]),
            truncated=bool(self._truncated[index]),
            provenance=json.loads(self._provenance(index)),
        )

    def _restore_steps(self, steps: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
        observed = self.schema.observations.items()
        observations = {key: _restore(steps[f"observations/{key}"], leaf) for key, leaf in observed}
        return observations, _restore(steps["actions"], self.schema.action)

    @property
    def _rows(self) -> Sequence[str]:
        return ["rewards", *(path for path, leaf in self.schema.leaves.items() if leaf.kind != "text")]

    @property
    def _texts(self) -> Sequence[str]:
        return [path for path, leaf in self.schema.leaves.items() if leaf.kind == "text"]

    @cached_property
    def _terminated(self) -> NDArray[np.bool_]:
        return self._arrays.read("terminated")

    @cached_property
    def _truncated(self) -> NDArray[np.bool_]:
        return self._arrays.read("truncated")

    def _provenance(self, index: int) -> str:
        number, place = divmod(index, _PROVENANCE_ROWS)

        def read() -> tuple[NDArray[np.object_], int]:
            stop = min((number + 1) * _PROVENANCE_ROWS, len(self))
            texts = self._arrays.read_text("provenance", number * _PROVENANCE_ROWS, stop)
            return texts, texts.nbytes + sum(map(len, texts))

        return self._provenances.get(number, read)[place]


def _attributes(task: str, schema: Schema) -> Mapping[str, Any]:
    return json.loads(canonical_json({"task": task, "schema": schema.to_json()}))


def _append_episode(writer: ArrayWriter, episode: Episode, schema: Schema) -> None:
    for path, leaf in schema.leaves.items():
        values = episode.actions if path == "actions" else episode.observations[path.removeprefix("observations/")]
        if leaf.kind == "text":
            writer.append_text(path, values)
        else:
            writer.append(path, _compact(values, leaf))
    writer.append("rewards", episode.rewards)
    writer.append("seeds", np.array([episode.seed], dtype=np.int64))
    writer.append("terminated", np.array([episode.terminated], dtype=np.bool_))
    writer.append("truncated", np.array([episode.truncated], dtype=np.bool_))
    writer.append("total_returns", np.array([episode.total_return], dtype=np.float64))
    writer.append_text("provenance", [canonical_json(dict(episode.provenance)).decode()])


def _compact(values: NDArray[Any], leaf: Leaf) -> NDArray[Any]:
    return values.astype(np.uint16) if leaf.kind == "discrete" else values


def _restore(values: NDArray[Any], leaf: Leaf) -> NDArray[Any]:
    return values.astype(np.int64) if leaf.kind == "discrete" else values
