from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.task import Action, Expert, Observation


@runtime_checkable
class Insider(Protocol):
    """What a policy may offer beside ``Policy`` to be told of each new episode's environment and seed."""

    def begin(self, slot: int, environment: gymnasium.Env, seed: int) -> None:
        """Begin an episode in a slot; the environment has just been reset with the seed."""
        ...

    def provenance(self, slot: int) -> Mapping[str, Any]:
        """Return JSON values that say how the actions in this slot come about."""
        ...


_LONGEST_DRAWN = 1000  # characters of a random text


class RandomPolicy:
    """Takes each legal action with equal chance; a function of its own seed and the episode's, not of the slots."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._generators: dict[int, np.random.Generator] = {}
        self._spaces: dict[int, spaces.Space] = {}

    def begin(self, slot: int, environment: gymnasium.Env, seed: int) -> None:
        """Seed the slot's generator."""
        self._generators[slot] = np.random.default_rng([self._seed, seed])
        self._spaces[slot] = environment.action_space

    def provenance(self, slot: int) -> Mapping[str, Any]:
        """Return the policy's name and seed."""
        return {"policy": "random", "policy_seed": self._seed}

    def reset(self, slots: Sequence[int]) -> None:
        """Forget nothing: the policy has no memory."""

    def act(
        self, slots: Sequence[int], observations: Sequence[Observation], masks: Sequence[NDArray[np.bool_] | None]
    ) -> Sequence[Action]:
        """Draw an action for each slot."""
        return [self._draw(slot, mask) for slot, mask in zip(slots, masks, strict=True)]

    def _draw(self, slot: int, mask: NDArray[np.bool_] | None) -> Action:
        space, generator = self._spaces[slot], self._generators[slot]
        if isinstance(space, spaces.Discrete):
            return int(generator.choice(np.arange(space.n) if mask is None else np.flatnonzero(mask)))
        if isinstance(space, spaces.Box):
            return generator.uniform(space.low, space.high).astype(np.float32)
        if isinstance(space, spaces.Text):
            length = generator.integers(space.min_length, min(space.max_length, _LONGEST_DRAWN) + 1)
            return "".join(generator.choice(sorted(space.character_set), length))
        raise ValueError(f"a random policy cannot draw from the action space {space}; expected Discrete, Box or Text")


class ExpertPolicy:
    """Plays a task's expert, which sees the environment itself, in every slot."""

    def __init__(self, make_expert: Callable[[], Expert]) -> None:
        self._make_expert = make_expert
        self._experts: dict[int, Expert] = {}

    def begin(self, slot: int, environment: gymnasium.Env, seed: int) -> None:
        """Give the slot's expert the environment of its new episode."""
        if slot not in self._experts:
            self._experts[slot] = self._make_expert()
        self._experts[slot].reset(environment)

    def provenance(self, slot: int) -> Mapping[str, Any]:
        """Return the provenance of the slot's expert."""
        return self._experts[slot].provenance()

    def reset(self, slots: Sequence[int]) -> None:
        """Forget nothing: ``begin`` tells each expert of its episode."""

    def act(
        self, slots: Sequence[int], observations: Sequence[Observation], masks: Sequence[NDArray[np.bool_] | None]
    ) -> Sequence[Action]:
        """Return each expert's action."""
        return [self._experts[slot].act(seen) for slot, seen in zip(slots, observations, strict=True)]
