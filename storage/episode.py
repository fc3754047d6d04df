from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LeafKind = Literal["continuous", "discrete", "image", "text"]


@dataclass(frozen=True)
class Leaf:
    """What one observation or the action of a task looks like at one step.

    Args:
        kind: ``continuous`` (float32 vector), ``discrete`` (int64, each in ``0..num_values - 1``), ``image`` (uint8,
            height x width x 3) or ``text`` (a string).
        shape: Shape at one step; ``()`` for text and for a single discrete action.
        low: Smallest value of a continuous leaf, ``-inf`` when unbounded.
        high: Largest value of a continuous leaf, ``inf`` when unbounded.
        num_values: Number of values of a discrete leaf, at most 1,024; 0 for the other kinds.
        num_tokens: Text only: tokens that a step reserves for it; longer text is cut, shorter is padded. 0 for a
            document, which is the one action of its episode, of any length.
    """

    kind: LeafKind
    shape: tuple[int, ...] = ()
    low: float = -np.inf
    high: float = np.inf
    num_values: int = 0
    num_tokens: int = 0

    @property
    def is_document(self) -> bool:
        """Whether it is a text of any length."""
        return self.kind == "text" and not self.num_tokens


@dataclass(frozen=True)
class Schema:
    """The observations (by key) and the action of every step of a task."""

    observations: Mapping[str, Leaf]
    action: Leaf

    @property
    def leaves(self) -> dict[str, Leaf]:
        """The observations, named ``observations/<key>``, and ``actions``, in the order in which they are stored."""
        return {f"observations/{key}": leaf for key, leaf in sorted(self.observations.items())} | {
            "actions": self.action
        }

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON values; infinities are strings, since JSON has none."""
        return {
            "observations": {key: _leaf_to_json(leaf) for key, leaf in sorted(self.observations.items())},
            "action": _leaf_to_json(self.action),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """Read what ``to_json`` returned."""
        return cls(
            observations={key: _leaf_from_json(leaf) for key, leaf in value["observations"].items()},
            action=_leaf_from_json(value["action"]),
        )


@dataclass(frozen=True)
class Episode:
    """One run of a policy in an environment, from its reset to its end: T transitions.

    Args:
        task: Id of the task, ``family/name``.
        seed: The seed that the environment was reset with; with the task it determines the episode.
        observations: For every key what was seen before each action: arrays of shape (T, *leaf shape), or for text
            an array of T strings. The observation after the last action is not kept.
        actions: int64 of shape (T,) for a discrete action, float32 of shape (T, dimensions) in [-1, 1] for a
            continuous one, an array of T strings for text.
        rewards: float64 of shape (T,).
        terminated: Whether the environment ended the episode.
        truncated: Whether a limit ended it.
        provenance: JSON values that say how the actions came about (solver, versions, bounds).

    Raises:
        ValueError: If the arrays do not all have T >= 1 entries.
    """

    task: str
    seed: int
    observations: Mapping[str, NDArray[Any]]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]
    terminated: bool
    truncated: bool
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {"actions": len(self.actions), "rewards": len(self.rewards)}
        lengths |= {f"observations[{key!r}]": len(values) for key, values in self.observations.items()}
        if len(set(lengths.values())) != 1 or len(self.actions) == 0:
            raise ValueError(
                f"an episode of task {self.task!r} (seed {self.seed}) has {lengths}; "
                "expected the same number of transitions, at least one, in each"
            )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total_return(self) -> float:
        """Sum of the rewards."""
        return float(np.sum(self.rewards))


def _leaf_to_json(leaf: Leaf) -> dict[str, Any]:
    value = asdict(leaf)
    return value | {"shape": list(leaf.shape), "low": str(leaf.low), "high": str(leaf.high)}


def _leaf_from_json(value: Mapping[str, Any]) -> Leaf:
    return Leaf(
        kind=value["kind"],
        shape=tuple(value["shape"]),
        low=float(value["low"]),
        high=float(value["high"]),
        num_values=value["num_values"],
        num_tokens=value["num_tokens"],
    )
