from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from safetensors.numpy import load_file

from storage.folder import StoredFolder
from storage.manifest import Manifest, ManifestError
from tasks.specialists.arena import flatten
from tasks.specialists.network import Network
from tasks.task import Action, Expert, Observation, Task

CODE_VERSION = "2"
KIND = "specialist"
NETWORK = "network.safetensors"
CURVE = "curve.csv"
_SHARE = "share_of_steps"


class UntrainedError(RuntimeError):
    """A task has no expert: its specialist is not trained yet, or nobody has published how to train one."""


class SpecialistExpert:
    """A trained policy, which sees what whoever imitates it sees.

    Args:
        network: File of its numbers.
        digest: Digest of the stored specialist.
        activation: See ``Network``.
        squashes: See ``Network``.
    """

    def __init__(self, network: Path, digest: str, *, activation: Any, squashes: bool) -> None:
        self._network = Network.from_arrays(load_file(network), activation=activation, squashes=squashes)
        self._digest = digest

    def reset(self, environment: gymnasium.Env) -> None:
        """Forget nothing: the policy has no memory."""

    def act(self, observation: Observation) -> Action:
        """Return the policy's most likely action."""
        return self._network.act(flatten(observation))

    def provenance(self) -> Mapping[str, Any]:
        """Name the stored specialist."""
        return {"specialist": self._digest}


def refuse_untrained(task_id: str) -> Expert:
    """Say how the specialist of a task is made; the place of an expert as long as there is none.

    Raises:
        UntrainedError: Always.
    """
    raise UntrainedError(
        f"the expert of task {task_id!r} is a specialist, which is not trained; train it with:\n"
        f"  db1 make specialists {task_id}"
    )


def refuse_without_recipe(task_id: str) -> Expert:
    """Say that nothing is known to play a task; the place of its expert.

    Raises:
        UntrainedError: Always.
    """
    raise UntrainedError(
        f"task {task_id!r} has no expert: neither a script nor a specialist's published recipe; bring episodes with:\n"
        f"  db1 import SOURCE --as {task_id} --format minari"
    )


def with_specialist(task: Task, root: str) -> tuple[Task, str]:
    """Give a task its trained specialist as the expert.

    Args:
        task: A task; one whose expert is of another kind is returned as it is.
        root: Where specialists lie, such as ``Locations().specialists``.

    Returns:
        The task, and the digest of the specialist, empty where there is none.

    Raises:
        UntrainedError: If the specialist is missing, damaged, or trained by another recipe.
    """
    if task.recipe is None:
        return task, ""
    folder = StoredFolder(root, KIND, task.id)
    if find_specialist(folder, task, share=0.0) is None:
        refuse_untrained(task.id)
    files = folder.open()
    make = partial(
        SpecialistExpert,
        files.path(NETWORK),
        files.manifest.digest,
        activation=task.recipe.activation,
        squashes=task.recipe.algorithm != "ppo",
    )
    return replace(task, make_expert=make), files.manifest.digest


def find_specialist(folder: StoredFolder, task: Task, *, share: float) -> Manifest | None:
    """Return the manifest of a task's specialist when it is sound and trained for long enough, otherwise None.

    Args:
        folder: Where it lies.
        task: A task with a recipe.
        share: Share of the recipe's steps that is enough.
    """
    try:
        manifest = folder.read_manifest()
    except ManifestError:
        return None
    trained = manifest.recipe.get(_SHARE, 1.0)
    return folder.find(specialist_recipe(task, trained)) if trained >= share else None


def specialist_recipe(task: Task, share: float = 1.0) -> dict[str, Any]:
    """Return what determines a task's specialist.

    Args:
        task: A task with a recipe.
        share: Share of the recipe's steps that it is trained for.

    Raises:
        ValueError: If the task's expert is of another kind, or the share is not in (0, 1].
    """
    if task.recipe is None:
        raise ValueError(f"the expert of task {task.id!r} is a {task.expert_route}, not a specialist")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a specialist's share of its recipe's steps is {share}, expected above 0 and at most 1")
    return {
        "code_version": CODE_VERSION,
        "task": task.id,
        "task_code_version": task.code_version,
        "training": task.recipe.to_json(),
        "seed": 0,
        **({_SHARE: share} if share < 1.0 else {}),
    }
