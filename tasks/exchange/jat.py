from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from tasks.exchange.foreign import ForeignEpisode, SourceFile, refuse

_OBSERVATIONS = ("continuous_observations", "discrete_observations", "image_observations", "text_observations")
_ACTIONS = ("continuous_actions", "discrete_actions")
_FETCH = "the file is cut short or none of JAT's; fetch it again"


class JATSource:
    """Parquet files in the layout of the JAT data set: one row an episode, one list a column with an entry a step.

    The columns are ``rewards``, one of ``continuous_actions`` and ``discrete_actions``, and at least one of
    ``continuous_observations``, ``discrete_observations``, ``image_observations`` and ``text_observations``. JAT tells
    neither seeds nor whether an episode was ended or cut off, and its continuous actions are those before clipping.

    Args:
        source: A file, or a folder of files, which are read in the order of their names.

    Raises:
        ForeignDataError: If there is none, a file is no Parquet, lacks a column, or has one that is unknown.

    Source:
        Gallouedec et al., "Jack of all trades, master of some, a multi-purpose transformer agent", arXiv:2402.09844;
        the data set's card at huggingface.co/datasets/jat-project/jat-dataset.
    """

    def __init__(self, source: str) -> None:
        path = Path(source)
        paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
        if not paths:
            refuse(source, "no Parquet file", "a file, or a folder that holds *.parquet", "give its path")
        for one in paths:
            with _open(one) as file:
                _check_columns(file.schema_arrow.names, str(one))
        self.files = [SourceFile.at(one) for one in paths]

    def __iter__(self) -> Iterator[ForeignEpisode]:
        """Read one episode after another."""
        for source in self.files:
            with _open(source.path) as file:
                (action_column,) = (name for name in file.schema_arrow.names if name in _ACTIONS)
                index = 0
                try:
                    for batch in file.iter_batches(batch_size=1):
                        yield _episode(source, index, batch, action_column)
                        index += 1
                except (pa.ArrowException, OSError) as error:
                    refuse(f"{source.path}, episode {index}", f"unreadable ({error})", "a whole Parquet file", _FETCH)

    def facts(self) -> Mapping[str, Any]:
        """Return nothing: all is in the files."""
        return {}


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        refuse(str(path), f"no readable Parquet ({error})", "a whole Parquet file", _FETCH)


def _check_columns(names: list[str], where: str) -> None:
    if unknown := sorted(set(names) - {*_OBSERVATIONS, *_ACTIONS, "rewards"}):
        refuse(
            where, f"the unknown columns {unknown}", f"{[*_OBSERVATIONS, *_ACTIONS, 'rewards']}", "remove them first"
        )
    if "rewards" not in names or len(set(names) & set(_ACTIONS)) != 1 or not set(names) & set(_OBSERVATIONS):
        refuse(where, f"the columns {sorted(names)}", "rewards, one of actions, and observations", _FETCH)


def _episode(source: SourceFile, index: int, batch: pa.RecordBatch, action_column: str) -> ForeignEpisode:
    columns: dict[str, Any] = {}
    for name in batch.schema.names:
        cell = batch.column(name)
        where = f"{source.path}, episode {index}, column {name!r}"
        if not hasattr(cell, "flatten") or cell.null_count:
            refuse(where, f"{cell.type}" if not cell.null_count else "nothing", "a list with an entry a step", _FETCH)
        columns[name] = _read(cell.flatten(), where)
    seen = {name: values for name, values in columns.items() if name in _OBSERVATIONS}
    only = next(iter(seen)) if len(seen) == 1 else ""
    return ForeignEpisode(
        file=source,
        index=index,
        column=only,
        observations=seen[only] if only else seen,
        action_column=action_column,
        actions=columns[action_column],
        rewards=columns["rewards"],
        terminated=False,
        truncated=False,
        provenance={"end": "not recorded"},
    )


def _read(values: pa.Array, where: str) -> NDArray[Any] | list[str]:
    """Return the entries of a list, one a step: numbers, nested lists of them, pictures or texts."""
    if isinstance(values, pa.ExtensionArray):
        return _read(values.storage, where)
    if values.null_count:
        refuse(where, f"{values.null_count} empty entries", "a value at each step", _FETCH)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.to_pylist()
    if pa.types.is_struct(values.type):
        return _stack([np.asarray(Image.open(io.BytesIO(entry["bytes"]))) for entry in values.to_pylist()], where)
    if not (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        return values.to_numpy(zero_copy_only=False)
    lengths = set(np.asarray(values.value_lengths())) if len(values) else {0}
    if len(lengths) != 1:
        refuse(where, f"entries of {sorted(int(one) for one in lengths)} numbers", "equally many at each step", _FETCH)
    inner = _read(values.flatten(), where)
    if isinstance(inner, list):
        refuse(where, "lists of texts", "one text a step", _FETCH)
    return inner.reshape(len(values), int(lengths.pop()), *inner.shape[1:])


def _stack(pictures: list[NDArray[Any]], where: str) -> NDArray[Any]:
    if len(sizes := {picture.shape for picture in pictures}) > 1:
        refuse(where, f"pictures of the shapes {sorted(sizes)}", "one shape", _FETCH)
    return np.stack(pictures) if pictures else np.zeros((0,), np.uint8)
