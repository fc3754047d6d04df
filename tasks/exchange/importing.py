from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from storage.episode import Episode
from storage.folder import StoredFolder
from storage.locations import Locations
from storage.manifest import Manifest, ManifestError
from storage.trajectories import KIND, TrajectoryStore
from tasks.corpora.own import import_command, is_paired
from tasks.exchange.foreign import Source
from tasks.exchange.translation import translate
from tasks.proof import PROOF_EPISODES
from tasks.rollout import measure_reference_scores, start_players
from tasks.task import EVALUATION_SEED, Task, schema_of

CODE_VERSION = "1"
ROUTE = "imported"

_SOURCES: Mapping[str, tuple[str, str]] = {
    "minari": ("tasks.exchange.minari", "MinariSource"),
    "d4rl": ("tasks.exchange.d4rl", "D4RLSource"),
    "jat": ("tasks.exchange.jat", "JATSource"),
}
"""The module and class that read each format; they import packages that only the extra ``import`` brings."""

FORMATS = tuple(_SOURCES)


class ImportedEpisodesError(ValueError):
    """A task's imported episodes cannot be used, and nothing but an import can bring them back."""


@dataclass(frozen=True)
class Import:
    """What an import has stored, or found stored from the same files.

    Args:
        manifest: Of the task's trajectories.
        found: Whether there was nothing to do.
    """

    manifest: Manifest
    found: bool


def open_source(source: str, format: str) -> Source:
    """Open somebody else's episodes.

    Args:
        source: A path, or for ``minari`` the id of a data set on this machine.
        format: ``minari``, ``d4rl`` or ``jat``.

    Raises:
        ValueError: If the format is unknown, or the source is not of it.
        ModuleNotFoundError: If a package that reads it is not installed.
    """
    if format not in _SOURCES:
        raise ValueError(f"unknown format {format!r} of episodes; expected one of {', '.join(FORMATS)}")
    module, name = _SOURCES[format]
    try:
        return getattr(importlib.import_module(module), name)(source)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{format} needs the package {error.name!r}, which is not installed; the extra 'import' brings it:\n"
            "  pip install -e '.[import]' -c constraints.txt",
            name=error.name,
        ) from error


def import_episodes(
    task: Task,
    source: str,
    store: TrajectoryStore,
    *,
    format: str,
    limit: int = 0,
    clip_actions: bool = False,
    replace: bool = False,
    num_processes: int = 1,
    track: Callable[[Iterator[Episode]], Iterable[Episode]] = iter,
) -> Import:
    """Store somebody else's episodes as a task's trajectories, in bounded memory.

    The expert's reference score is the mean return of all imported episodes. Their seeds are not the evaluation seeds
    on which random and the baselines are played here, so the score says ``paired: false`` (see ``tasks/proof.py``).

    Args:
        task: The task whose episodes they are.
        source: A path, or for ``minari`` the id of a data set on this machine.
        store: Where the trajectories are stored.
        format: ``minari``, ``d4rl`` or ``jat``.
        limit: Number of episodes that are taken from the beginning; 0 takes all.
        clip_actions: Whether continuous actions beyond [-1, 1] are clipped instead of refused.
        replace: Whether what is stored of the task, from anywhere else, may be replaced.
        num_processes: Processes that play random and the baselines.
        track: Is given the episodes while they are stored, and yields them on.

    Raises:
        ValueError: If the limit is negative, something else is stored and may not be replaced, or an episode does not
            fit. What was stored before stays.
        ModuleNotFoundError: If a package is not installed.
    """
    if limit < 0:
        raise ValueError(f"the limit is {limit} episodes; expected at least 1, or 0 for all")
    opened, schema = open_source(source, format), schema_of(task)
    origin = {
        "format": format,
        "files": [[file.name, file.sha256] for file in opened.files],
        "limit": limit,
        "clip_actions": clip_actions,
    }
    recipe = import_recipe(task, CODE_VERSION, origin)
    if found := store.find(task.id, recipe):
        return Import(found, found=True)
    if not replace:
        refuse_to_replace(task, store)
    returns: list[float] = []
    lengths: list[int] = []

    def episodes() -> Iterator[Episode]:
        chosen = islice(opened, limit) if limit else iter(opened)
        for episode in translate(chosen, task, schema, clip_actions=clip_actions):
            returns.append(episode.total_return)
            lengths.append(len(episode))
            yield episode

    def metadata() -> dict[str, Any]:
        with start_players(num_processes) as players:
            others = measure_reference_scores(task, PROOF_EPISODES, players=players, with_expert=False)
        expert = {"mean": float(np.mean(returns)), "returns": returns, "lengths": lengths, "paired": False}
        return {
            "floor": task.floor,
            "reference_scores": {**others, "expert": expert},
            "expert_route": ROUTE,
            ROUTE: {"source": source, "format": format, **opened.facts()},
        }

    return Import(store.write(task.id, schema, track(episodes()), recipe=recipe, metadata=metadata), found=False)


def import_recipe(task: Task, code_version: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what imported trajectories of a task are made from.

    Args:
        task: The task.
        code_version: Of what imports them.
        origin: The files and the choices of the import, as JSON values.
    """
    return {
        "code_version": code_version,
        "task": task.id,
        "task_code_version": task.code_version,
        "floor": task.floor,
        "first_evaluation_seed": EVALUATION_SEED,
        "num_evaluation_episodes": PROOF_EPISODES,
        ROUTE: dict(origin),
    }


def refuse_to_replace(task: Task, store: TrajectoryStore) -> None:
    """Refuse an import that would replace what is stored of a task.

    Raises:
        ValueError: If something is.
    """
    if (folder := StoredFolder(store.root, KIND, task.id)).exists:
        raise ValueError(
            f"other trajectories of task {task.id!r} are stored in {folder.place.locate()}; to put the imported ones "
            "in their place, add --replace"
        )


def find_imported(task: Task, store: TrajectoryStore) -> Manifest | None:
    """Return the manifest of a task's trajectories when they were imported, otherwise None.

    Raises:
        ImportedEpisodesError: If they were, but are damaged, or the task has changed since; or if there are none, and
            the task has no others.
    """
    folder = StoredFolder(store.root, KIND, task.id)
    try:
        manifest = folder.read_manifest()
    except ManifestError as error:
        if not task.is_own:
            return None
        raise ImportedEpisodesError(
            f"task {task.id!r} has the episodes that you bring, and has none yet ({error.fault}); bring them with:\n"
            f"  {import_command(task.id)}"
        ) from None
    if ROUTE not in manifest.recipe:
        return None
    if (version := manifest.recipe["task_code_version"]) != task.code_version:
        fault = f"are of version {version!r} of the task, expected {task.code_version!r}"
    elif store.find(task.id, manifest.recipe) is None:
        fault = "are damaged (see: db1 doctor)"
    elif task.is_own and not is_paired(Locations(store.root.removesuffix("/trajectories")), task.id):
        fault = "cannot be used, for the held-out samples are missing or of another import"
    else:
        return manifest
    told = manifest.metadata[ROUTE]
    or_play = f"\nor let the task's own expert play:\n  db1 make trajectories {task.id} --replace-imported"
    raise ImportedEpisodesError(
        f"the imported episodes of task {task.id!r} {fault}; import them again with:\n"
        f"  db1 import {told['source']} --as {task.id} --format {told['format']} --replace"
        f"{'' if task.is_own else or_play}"
    )
