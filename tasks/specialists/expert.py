from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from safetensors.numpy import load_file

from storage.folder import StoredFolder
from storage.manifest import ManifestError
from tasks.specialists.arena import flatten
from tasks.specialists.network import Network
from tasks.task import Action, Expert, Observation, Task

KIND = "specialist"
NETWORK = "network.safetensors"
CURVE = "curve.csv"


class UntrainedError(RuntimeError):
    """A task's expert is a specialist that is not trained yet."""


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
    try:
        files = StoredFolder(root, KIND, task.id).open()
    except ManifestError:
        refuse_untrained(task.id)
        raise
    manifest = files.manifest
    if manifest.recipe != specialist_recipe(task):
        refuse_untrained(task.id)
    make = partial(
        SpecialistExpert,
        files.path(NETWORK),
        manifest.digest,
        activation=task.recipe.activation,
        squashes=task.recipe.algorithm != "ppo",
    )
    return replace(task, make_expert=make), manifest.digest


def specialist_recipe(task: Task, seed: int = 0) -> dict[str, Any]:
    """Return what determines a task's specialist.

    Raises:
        ValueError: If the task's expert is of another kind.
    """
    if task.recipe is None:
        raise ValueError(f"the expert of task {task.id!r} is a {task.expert_route}, not a specialist")
    return {
        "code_version": "1",
        "task": task.id,
        "task_code_version": task.code_version,
        "training": task.recipe.to_json(),
        "seed": seed,
    }
