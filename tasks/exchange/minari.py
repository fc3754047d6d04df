from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces
from minari import MinariDataset
from numpy.typing import NDArray

from tasks.exchange.foreign import ForeignDataError, ForeignEpisode, SourceFile, flatten, refuse

MARK = "db1"
"""Key of a data set's metadata under which an export says what it was made of."""

PROVENANCE = "provenance"
"""Attribute of an exported episode that holds its provenance as JSON."""

_METADATA, _MAIN = "metadata.json", "main_data.hdf5"
_COLUMNS = {"observations", "actions", "rewards", "terminations", "truncations"}
_FETCH = "the data set is incomplete or damaged; fetch it again"


class MinariSource:
    """A Minari data set on this machine, with Minari's HDF5 storage; nothing is fetched.

    The observation after an episode's last action is left out, as everywhere here; ``infos`` are not read.

    Args:
        source: The data set's folder, or the id of one that lies where Minari keeps them (``MINARI_DATASETS_PATH``).

    Raises:
        ForeignDataError: If there is none, or Minari cannot open it.
    """

    def __init__(self, source: str) -> None:
        folder = _find(source)
        metadata = _read_metadata(folder / _METADATA)
        if metadata.get("data_format", "hdf5") != "hdf5" or not (folder / _MAIN).is_file():
            found = f"data_format {metadata.get('data_format')!r} and {sorted(one.name for one in folder.iterdir())}"
            refuse(str(folder), found, f"hdf5 and {_MAIN}", "take the data set's HDF5 version")
        self._path = folder / _MAIN
        try:
            self._data_set = MinariDataset(folder)
        except Exception as error:  # whatever Minari, its spaces or the environment that it makes raise
            refuse(str(folder), f"what Minari cannot open ({error!r:.300})", "a data set of Minari", _FETCH)
        self._exported_from, self._facts = metadata.get(MARK), {"data_set": metadata.get("dataset_id")}
        self.files = [SourceFile.at(folder / name) for name in (_METADATA, _MAIN)]

    def __iter__(self) -> Iterator[ForeignEpisode]:
        """Read one episode after another."""
        place = "its beginning"
        try:
            with h5py.File(self._path) as file:
                num_episodes = int(self._data_set.total_episodes)
                if (found := len(file)) != num_episodes:
                    refuse(str(self._path), f"{found} episodes", f"{num_episodes}, as {_METADATA} says", _FETCH)
                for index in range(num_episodes):
                    place = f"episode {index}"
                    yield self._read(file, index)
        except ForeignDataError:
            raise
        except (OSError, KeyError, AssertionError, RuntimeError, TypeError, ValueError) as error:
            refuse(f"{self._path}, {place}", f"unreadable ({error!r:.300})", "whole episodes", _FETCH)

    def facts(self) -> Mapping[str, Any]:
        """Return the data set's id."""
        return self._facts

    def _read(self, file: h5py.File, index: int) -> ForeignEpisode:
        where, group = f"{self._path}, episode {index}", file[f"episode_{index}"]
        names = set(group) if isinstance(group, h5py.Group) else set()
        if unknown := sorted(names - _COLUMNS - {"infos"}):
            refuse(where, f"the unknown columns {unknown}", f"{sorted(_COLUMNS)}", "remove them first")
        if missing := sorted(_COLUMNS - names):
            refuse(where, f"no column {', '.join(missing)}", f"{sorted(_COLUMNS)}", _FETCH)
        storage = self._data_set.storage
        (steps,), (told,) = storage.get_episodes([index]), storage.get_episode_metadata([index])
        rewards, ends = steps["rewards"], {name: steps[name] for name in ("terminations", "truncations")}
        lengths = {name: len(values) for name, values in flatten(steps["observations"], "observations").items()}
        if unequal := {name: length for name, length in lengths.items() if length != len(rewards) + 1}:
            expected = f"{len(rewards) + 1}, one more than rewards"
            refuse(where, f"{unequal} observations", expected, _FETCH)
        for name, flags in ends.items():
            if len(flags) != len(rewards) or flags[:-1].any():
                expected = f"{len(rewards)}, none of them true before the last"
                refuse(f"{where}, column {name!r}", f"{len(flags)} flags, {int(flags.sum())} true", expected, _FETCH)
        if not isinstance(steps["actions"], np.ndarray):
            refuse(f"{where}, column 'actions'", "several actions a step", "one array", "such tasks cannot be stored")
        return ForeignEpisode(
            file=self.files[1],
            index=index,
            column="observations",
            observations=_without_last(steps["observations"]),
            action_column="actions",
            actions=steps["actions"],
            rewards=rewards,
            terminated=bool(ends["terminations"][-1]) if len(rewards) else False,
            truncated=bool(ends["truncations"][-1]) if len(rewards) else False,
            seed=told.get("seed"),
            provenance=json.loads(told.get(PROVENANCE, "{}")),
            action_bounds=_bounds(self._data_set.action_space),
            exported_from=self._exported_from,
        )


def datasets_root() -> Path:
    """Return the folder in which Minari keeps its data sets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()


def _find(source: str) -> Path:
    candidates = [Path(source, "data"), Path(source), datasets_root() / source / "data"]
    for folder in candidates:
        if (folder / _METADATA).is_file():
            return folder
    looked = ", ".join(str(folder) for folder in candidates)
    refuse(source, f"no {_METADATA} in {looked}", "a data set of Minari", f"fetch it:\n  minari download {source}")


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        refuse(str(path), f"no JSON ({error})", "a data set's metadata", _FETCH)


def _without_last(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {key: _without_last(part) for key, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(map(_without_last, observations))
    return observations[:-1]


def _bounds(space: spaces.Space) -> tuple[NDArray[Any], NDArray[Any]] | None:
    return (space.low, space.high) if isinstance(space, spaces.Box) else None
