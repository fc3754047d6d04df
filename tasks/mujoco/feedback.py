from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tasks.specialists.arena import flatten
from tasks.task import Action, Observation


class FeedbackExpert:
    """Linear feedback from what is observed: actions are clipped sums of the observed numbers times fixed gains.

    Args:
        task_id: Whose gains these are.
        gains: The gains and, in the last column, what is added; shape (actions, observed numbers + 1).
    """

    def __init__(self, task_id: str, gains: NDArray[np.float64]) -> None:
        self._task_id, self._gains = task_id, gains

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode; there is no memory."""

    def act(self, observation: Observation) -> Action:
        """Return the action for what is observed."""
        return apply_gains(self._gains, observation)

    def provenance(self) -> Mapping[str, Any]:
        """Return how the gains were found, and the simulator's version."""
        found_by = f"python -m tasks.mujoco.search {self._task_id}"
        return {"script": "linear feedback", "gains_found_by": found_by, "versions": {"mujoco": version("mujoco")}}


def read_gains(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the gains in a table by the name of their task; a row is a name and the gains of one action."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    with path.open(newline="") as file:
        for name, *gains in csv.reader(file):
            rows[name].append([float(gain) for gain in gains])
    return {name: np.array(gains) for name, gains in rows.items()}


def apply_gains(gains: NDArray[np.float64], observation: Observation) -> NDArray[np.float32]:
    """Return the action of linear feedback.

    Args:
        gains: Shape (actions, observed numbers + 1); the last column is added.
        observation: Vectors by name; they are put together in the order of their names.
    """
    return np.clip(gains[:, :-1] @ flatten(observation) + gains[:, -1], -1.0, 1.0).astype(np.float32)
