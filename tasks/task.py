from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from storage.episode import Leaf, Schema
from tasks.specialists.recipe import Recipe

EVALUATION_SEED = 1_000_000
"""First seed of the evaluation episodes; training episodes have seeds below it."""

Observation = Mapping[str, Any]
Action = Any
Inner = TypeVar("Inner", bound=gymnasium.Env)


class Expert(Protocol):
    """Acts in one environment at a time, with whatever it wants to know of the environment's state."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode in an environment that has just been reset."""
        ...

    def act(self, observation: Observation) -> Action:
        """Return the action for the environment's present state."""
        ...

    def provenance(self) -> Mapping[str, Any]:
        """Return JSON values that say how this episode's actions come about."""
        ...


class Policy(Protocol):
    """Acts from observations alone, in many environments at once, each in a slot of its own."""

    def reset(self, slots: Sequence[int]) -> None:
        """Forget what these slots saw: a new episode begins in each."""
        ...

    def act(
        self, slots: Sequence[int], observations: Sequence[Observation], masks: Sequence[NDArray[np.bool_] | None]
    ) -> Sequence[Action]:
        """Return an action for each slot.

        Args:
            slots: The slots whose environments wait for an action.
            observations: One observation a slot.
            masks: The legal values of a discrete action, shape (values,), or None when all are legal.
        """
        ...


@dataclass(frozen=True)
class Task:
    """Something to be done, and an expert that does it.

    The environment keeps to one form: its observation space is a ``gymnasium.spaces.Dict`` of float32 vectors
    (``Box``), vectors of whole numbers (``MultiDiscrete`` of equal sizes), uint8 images of height x width x 3
    (``Box``) and ``Text``; its action space is ``Discrete``, a ``Box`` of float32 in [-1, 1] or ``Text``; ``info``
    holds ``action_mask`` when some discrete actions are illegal. ``reset(seed=s)`` fixes the whole episode for equal
    actions.

    It may have two methods more, through which imported episodes go (``tasks/exchange/translation.py``):
    ``observe(raw)`` returns what it shows of one observation of the original environment, ``scale_action(raw)`` the
    action that stands for one of the original's.

    Args:
        id: ``family/name``.
        make_environment: Makes the environment.
        make_expert: Makes its expert.
        expert_route: Where the expert's knowledge comes from.
        num_episodes: Expert episodes that are made of it by default.
        description: One sentence for people.
        licence: SPDX identifier of the environment's code or data.
        code_version: Changes when the environment or the expert changes what they do.
        baselines: Other experts to compare with, by name; ``random`` is always there and needs no entry.
        floor: The reference score that counts as 0 in the expert-normalised score: ``random`` or a baseline's name.
        text_tokens: Tokens that a step reserves for each text observation.
        answer_tokens: Tokens that a step reserves for an action that is text; 0 where the one action of an episode is a
            document, which is read and not played.
        extra: The optional dependencies of ``pyproject.toml`` that bring its packages; empty for none.
        recipe: How the specialist is trained that is its expert; None when the expert is of another kind.
    """

    id: str
    make_environment: Callable[[], gymnasium.Env]
    make_expert: Callable[[], Expert]
    expert_route: Literal["script", "bot", "solver", "planner", "specialist", "imported"]
    num_episodes: int
    description: str
    licence: str
    code_version: str
    baselines: Mapping[str, Callable[[], Expert]] = field(default_factory=dict)
    floor: str = "random"
    text_tokens: int = 0
    answer_tokens: int = 0
    extra: str = ""
    recipe: Recipe | None = None

    @property
    def family(self) -> str:
        """The part of the id before the slash."""
        return self.id.split("/", 1)[0]

    @property
    def name(self) -> str:
        """The part of the id after the slash."""
        return self.id.split("/", 1)[1]

    @property
    def is_own(self) -> bool:
        """Whether its episodes are a user's own; it is then only chosen by its id."""
        return self.expert_route == "imported"


def open_environment(task: Task) -> gymnasium.Env:
    """Make a task's environment.

    Raises:
        ModuleNotFoundError: If a package that it needs is not installed; the message says which extra brings it.
    """
    try:
        return task.make_environment()
    except ModuleNotFoundError as error:
        if not task.extra:
            raise
        raise ModuleNotFoundError(
            f"task {task.id!r} needs the package {error.name!r}, which is not installed; the extra {task.extra!r} "
            f"brings it:\n  pip install -e '.[{task.extra}]' -c constraints.txt",
            name=error.name,
        ) from error


def unwrap(environment: gymnasium.Env, kind: type[Inner]) -> Inner:
    """Return the environment inside all wrappers, for an expert that looks into it.

    Args:
        environment: The environment, with or without wrappers.
        kind: The class of environments that the expert knows.

    Raises:
        ValueError: If the environment inside is not of this class; the message names both classes.
    """
    inner = environment.unwrapped
    if not isinstance(inner, kind):
        raise ValueError(f"an environment of type {type(inner).__name__}; expected {kind.__name__}")
    return inner


def schema_of(task: Task) -> Schema:
    """Describe a task's observations and action as they are stored.

    Raises:
        ValueError: If a space has no stored form; the message names the task, the key and the space.
    """
    environment = open_environment(task)
    try:
        observation_space, action_space = environment.observation_space, environment.action_space
    finally:
        environment.close()
    if not isinstance(observation_space, spaces.Dict):
        raise ValueError(f"task {task.id!r}: the observation space is {observation_space}; expected a Dict")
    observations = {
        key: _leaf_of(space, f"task {task.id!r}, observation {key!r}", task.text_tokens)
        for key, space in observation_space.items()
    }
    action = _leaf_of(action_space, f"task {task.id!r}, action", task.answer_tokens, may_be_long=True)
    if action.kind == "continuous" and (action.low, action.high) != (-1.0, 1.0):
        raise ValueError(f"task {task.id!r}, action: the space is {action_space}; expected a Box in [-1, 1]")
    return Schema(observations=observations, action=action)


def _leaf_of(space: spaces.Space, where: str, text_tokens: int, *, may_be_long: bool = False) -> Leaf:
    match space:
        case spaces.Box() if space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] == 3:
            return Leaf("image", shape=space.shape)
        case spaces.Box() if space.dtype == np.float32 and len(space.shape) == 1:
            return Leaf("continuous", shape=space.shape, low=float(space.low.min()), high=float(space.high.max()))
        case spaces.MultiDiscrete() if space.nvec.ndim == 1 and len(set(space.nvec)) == 1 and space.nvec[0] <= 1024:
            return Leaf("discrete", shape=space.shape, num_values=int(space.nvec[0]))
        case spaces.Discrete() if space.start == 0 and space.n <= 1024:
            return Leaf("discrete", num_values=int(space.n))
        case spaces.Text() if text_tokens > 0 or may_be_long:
            return Leaf("text", num_tokens=text_tokens)
        case spaces.Text():
            raise ValueError(f"{where}: a text needs Task.text_tokens above 0")
    raise ValueError(
        f"{where}: the space {space} has no stored form; expected a float32 vector, a vector of at most 1024 equal "
        "discrete values, a uint8 image of height x width x 3, or a Text"
    )
