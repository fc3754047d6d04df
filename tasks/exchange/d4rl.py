from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tasks.exchange.foreign import ForeignEpisode, SourceFile, refuse

_BY_STEP = ("observations", "actions", "rewards", "terminals", "timeouts")
_IGNORED = {"next_observations", "infos", "metadata"}
_BLOCK = 1 << 20  # flags that are looked at together
_FETCH = "the file is cut short or none of D4RL's; fetch it again"


class D4RLSource:
    """One HDF5 file in D4RL's layout: all steps of all episodes end to end, one array a column.

    An episode ends where ``terminals`` or ``timeouts`` is true. The steps after the last end are no whole episode and
    are left out, as D4RL does; their number is told. ``next_observations``, ``infos`` and ``metadata`` are not read.

    Args:
        source: The file.

    Raises:
        ForeignDataError: If it is no HDF5 file, lacks a column, has one that is unknown, or columns of unequal length.

    Source:
        Fu et al., "D4RL: datasets for deep data-driven reinforcement learning", arXiv:2004.07219.
    """

    def __init__(self, source: str) -> None:
        path = Path(source)
        if not path.is_file():
            refuse(source, "no such file", "an HDF5 file in D4RL's layout", "give its path")
        self._path, self._steps_left_out = path, 0
        try:
            with h5py.File(path) as file:
                _check_columns(file, source)
        except OSError as error:
            refuse(source, f"no readable HDF5 ({error})", "a whole HDF5 file", _FETCH)
        self.files = [SourceFile.at(path)]

    def __iter__(self) -> Iterator[ForeignEpisode]:
        """Read one episode after another."""
        index, start = 0, 0
        try:
            with h5py.File(self._path) as file:
                observations, actions, rewards, terminals, timeouts = (_column(file, name) for name in _BY_STEP)
                for last in _ends(terminals, timeouts):
                    steps = slice(start, last + 1)
                    yield ForeignEpisode(
                        file=self.files[0],
                        index=index,
                        column="observations",
                        observations=observations[steps],
                        action_column="actions",
                        actions=actions[steps],
                        rewards=rewards[steps],
                        terminated=bool(terminals[last]),
                        truncated=bool(timeouts[last]),
                    )
                    index, start = index + 1, last + 1
                self._steps_left_out = len(rewards) - start
        except OSError as error:
            refuse(f"{self._path}, episode {index}", f"unreadable steps from {start} on ({error})", "whole", _FETCH)

    def facts(self) -> Mapping[str, Any]:
        """Return the number of steps after the last episode's end."""
        return {"steps_left_out": self._steps_left_out}


def _column(file: h5py.File, name: str) -> h5py.Dataset:
    column = file[name]
    if not isinstance(column, h5py.Dataset):
        refuse(f"{file.filename}, column {name!r}", "a group", "an array with a row a step", _FETCH)
    return column


def _check_columns(file: h5py.File, where: str) -> None:
    if missing := [name for name in _BY_STEP if name not in file]:
        remedy = _FETCH
        if missing == ["timeouts"]:
            remedy = "without it nothing says where an episode was cut off; take a version of the data set that has it"
        refuse(where, f"no column {', '.join(missing)}", f"{', '.join(_BY_STEP)}", remedy)
    if unknown := sorted(set(file) - set(_BY_STEP) - _IGNORED):
        refuse(where, f"the unknown columns {unknown}", f"{[*_BY_STEP, *sorted(_IGNORED)]}", "remove them first")
    lengths = {name: _column(file, name).shape[0] for name in _BY_STEP}
    if len(set(lengths.values())) != 1:
        refuse(where, f"columns of {lengths} steps", "the same number of steps in each", _FETCH)


def _ends(terminals: h5py.Dataset, timeouts: h5py.Dataset) -> Iterator[int]:
    for start in range(0, terminals.shape[0], _BLOCK):
        steps = slice(start, start + _BLOCK)
        ended = terminals[steps].astype(np.bool_).ravel() | timeouts[steps].astype(np.bool_).ravel()
        yield from (start + np.flatnonzero(ended)).tolist()
