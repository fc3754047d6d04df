from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from storage.episode import Episode, Leaf
from storage.manifest import canonical_json
from storage.trajectories import StoredTrajectory

FORMATS = ("minari",)

_DESCRIPTION = (
    "Episodes of task {task} of DB1. What was seen after an episode's last action was not kept; in its place the last "
    "observation stands twice. The key db1 of the metadata holds the task's schema, the reference scores and the "
    "digest of what was exported; the attribute provenance of an episode says how its actions came about."
)


def data_set_id(task_id: str) -> str:
    """Return the id that a task's episodes have as a Minari data set, such as ``db1/tsp/tsp100-city-0-v0``."""
    return f"db1/{re.sub(r'[^-_/a-zA-Z0-9]', '-', task_id)}-v0"


def export_minari(episodes: StoredTrajectory, folder: Path) -> Path:
    """Write stored episodes as a Minari data set, in bounded memory; nothing is lost, images included.

    Args:
        episodes: The trajectories of a task.
        folder: A folder of Minari data sets: with ``MINARI_DATASETS_PATH`` set to it, Minari finds this one by its id.

    Returns:
        The folder of the data set, ``folder`` and ``data_set_id``.

    Raises:
        FileExistsError: If the data set is there already.
        ModuleNotFoundError: If Minari is not installed.
    """
    name = data_set_id(episodes.manifest.name)
    target = folder / name
    if target.exists():
        raise FileExistsError(
            f"{target} is there already; expected a new folder: remove it, or choose another with --to"
        )
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(episodes, partial / "data", name)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _write(episodes: StoredTrajectory, data: Path, name: str) -> None:
    try:
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage

        from tasks.exchange.minari import MARK, PROVENANCE
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"an export needs the package {error.name!r}, which is not installed; the extra 'import' brings it:\n"
            "  pip install -e '.[import]' -c constraints.txt",
            name=error.name,
        ) from error
    leaves = episodes.schema.observations
    texts = {key: _text_space(episodes, key) for key, leaf in leaves.items() if leaf.kind == "text"}
    storage = MinariStorage.new(
        data,
        observation_space=spaces.Dict({key: texts.get(key) or _space(leaf) for key, leaf in leaves.items()}),
        action_space=_space(episodes.schema.action),
        data_format="hdf5",
        jpeg_encoding=False,
    )
    provenance: list[str] = []

    def buffers() -> Iterator[EpisodeBuffer]:
        for episode in episodes:
            provenance.append(canonical_json(dict(episode.provenance)).decode())
            yield EpisodeBuffer(**_buffer(episode))

    facts = episodes.manifest.metadata
    scores, floor = facts.get("reference_scores", {}), facts.get("floor", "random")
    told: dict[str, Any] = {
        "dataset_id": name,
        "minari_version": version("minari"),
        "description": _DESCRIPTION.format(task=episodes.manifest.name),
        "algorithm_name": str(facts.get("expert_route", "unknown")),
        MARK: {
            "task": episodes.manifest.name,
            "schema": episodes.schema.to_json(),
            "digest": episodes.manifest.digest,
            "recipe": dict(episodes.manifest.recipe),
            "floor": floor,
            "reference_scores": scores,
        },
    }
    if {floor, "expert"} <= set(scores):
        told |= {"ref_min_score": scores[floor]["mean"], "ref_max_score": scores["expert"]["mean"]}
        told["num_episodes_average_score"] = len(scores[floor]["returns"])
    storage.update_metadata(told)
    storage.update_episodes(buffers())
    storage.update_episode_metadata({PROVENANCE: one} for one in provenance)


def _buffer(episode: Episode) -> dict[str, Any]:
    ends = np.zeros((2, len(episode)), dtype=np.bool_)
    ends[:, -1] = episode.terminated, episode.truncated
    return {
        "seed": episode.seed,
        "observations": {key: _with_last_twice(values) for key, values in episode.observations.items()},
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminations": ends[0],
        "truncations": ends[1],
    }


def _with_last_twice(values: NDArray[Any]) -> NDArray[Any] | list[str]:
    doubled = np.concatenate([values, values[-1:]])
    return doubled.tolist() if doubled.dtype == object else doubled


def _space(leaf: Leaf) -> spaces.Space:
    match leaf.kind:
        case "continuous":
            return spaces.Box(leaf.low, leaf.high, leaf.shape, np.float32)
        case "discrete" if leaf.shape == ():
            return spaces.Discrete(leaf.num_values)
        case "discrete":
            return spaces.MultiDiscrete(np.full(leaf.shape, leaf.num_values))
        case "image":
            return spaces.Box(0, 255, leaf.shape, np.uint8)
    raise ValueError(f"Minari has no space for the kind {leaf.kind!r}; expected continuous, discrete or image")


def _text_space(episodes: StoredTrajectory, key: str) -> spaces.Text:
    texts = {str(text) for episode in episodes for text in set(episode.observations[key])}
    characters = sorted({character for text in texts for character in text}) or ["a"]
    return spaces.Text(
        max_length=max(1, *map(len, texts)), min_length=min(map(len, texts)), charset="".join(characters)
    )
