from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from storage.episode import Episode
from tasks.engine import start_workers
from tasks.policies import ExpertPolicy, Insider, RandomPolicy
from tasks.task import EVALUATION_SEED, Action, Observation, Policy, Task, open_environment
from tasks.workers import Workers

EPISODE_TIMEOUT_S = 120.0
"""Wall-clock seconds after which an episode counts as hanging."""

EPISODE_MEMORY_BYTES = 4 << 30
"""Memory that the process of an environment may take."""


class ExpertFailedError(RuntimeError):
    """An expert hung, crashed or raised on too many seeds."""


def roll_out(task: Task, policy: Policy, seeds: Sequence[int], *, num_slots: int) -> Iterator[Episode]:
    """Play one episode for each seed, many environments in lockstep.

    Each slot holds one environment; a slot whose episode ends takes the next seed. The policy acts for all busy slots
    in one call. The last ``info["summary"]`` and the provenance that the policy offers go into the episode's.

    Args:
        task: The task to play.
        policy: Who acts; an ``Insider`` is also told of each new episode.
        seeds: Seeds of the episodes.
        num_slots: Environments at once, at least 1.

    Yields:
        The episodes in the order of the seeds.

    Raises:
        ValueError: If ``num_slots`` is below 1, or an action lies outside the action space or the mask.
    """
    if num_slots < 1:
        raise ValueError(f"num_slots is {num_slots}; expected at least 1")
    slots = [_Slot(task, number) for number in range(min(num_slots, len(seeds)))]
    try:
        yield from _play(slots, policy, seeds)
    finally:
        for slot in slots:
            slot.environment.close()


Players = Workers[tuple[bytes, str, int], Episode]


def start_players(num_processes: int, *, timeout_s: float = EPISODE_TIMEOUT_S) -> Players:
    """Return processes that play episodes of one task after another, to be closed by ``with``.

    Args:
        num_processes: Processes at once on this machine, at least 1; see ``start_workers``.
        timeout_s: Wall-clock seconds that an episode may take.
    """
    return start_workers(_Player(), num_processes=num_processes, timeout_s=timeout_s, memory_bytes=EPISODE_MEMORY_BYTES)


def record_expert(task: Task, seeds: Sequence[int], *, players: Players | None = None) -> Iterator[Episode]:
    """Play a task's expert in processes; the episodes do not depend on how many.

    A seed on which the expert hangs, crashes or raises is replaced by the next one after the largest; the new
    episode's provenance says which seed it replaces and why.

    Args:
        task: The task; it must be picklable.
        seeds: Seeds of the episodes.
        players: Who plays; without them, one process of its own.

    Yields:
        As many episodes as seeds, in the order of the seeds, replacements last.

    Raises:
        ExpertFailedError: If the expert fails on more than a fifth of the seeds, and on more than two.
    """
    with _given(players) as playing:
        yield from _record(task, "expert", seeds, playing)


def measure_reference_scores(
    task: Task,
    num_episodes: int = 20,
    *,
    first_seed: int = EVALUATION_SEED,
    players: Players | None = None,
    with_expert: bool = True,
) -> dict[str, dict[str, Any]]:
    """Play the expert, the random policy and the task's baselines on the evaluation seeds.

    Where the expert fails on a seed, all play the one that replaces it, so that the proof has pairs.

    Args:
        task: The task; it must be picklable.
        num_episodes: Episodes of each.
        first_seed: Seed of the first episode; the others follow it.
        players: Who plays; without them, one process of its own.
        with_expert: Whether the expert plays too; its score may come from imported episodes.

    Returns:
        By name (``random``, ``expert`` and each baseline): ``mean`` of the returns, ``returns``, ``seeds``, ``lengths``
        in transitions, and ``summaries`` where the environment gives them.

    Raises:
        ExpertFailedError: As in ``record_expert``.
    """
    seeds: Sequence[int] = range(first_seed, first_seed + num_episodes)
    scores: dict[str, dict[str, Any]] = {}
    with _given(players) as playing:
        for name in (*(["expert"] if with_expert else []), "random", *task.baselines):
            scores[name] = _score(list(_record(task, name, seeds, playing)))
            seeds = scores[name]["seeds"]
    return scores


@contextmanager
def _given(players: Players | None) -> Iterator[Players]:
    if players is not None:
        yield players
        return
    with start_players(1) as own:
        yield own


def _score(episodes: Sequence[Episode]) -> dict[str, Any]:
    returns = [episode.total_return for episode in episodes]
    summaries = [episode.provenance["summary"] for episode in episodes if "summary" in episode.provenance]
    score = {
        "mean": float(np.mean(returns)),
        "returns": returns,
        "seeds": [episode.seed for episode in episodes],
        "lengths": [len(episode) for episode in episodes],
    }
    return score | ({"summaries": summaries} if summaries else {})


def _record(task: Task, name: str, seeds: Sequence[int], players: Players) -> Iterator[Episode]:
    described = pickle.dumps(task)
    allowed = max(2, len(seeds) // 5)
    fresh = itertools.count(max(seeds, default=0) + 1)
    failed = 0
    wanted: list[tuple[int, dict[str, Any]]] = [(seed, {}) for seed in seeds]
    while wanted:
        replacements: list[tuple[int, dict[str, Any]]] = []
        outcomes = players.map([(described, name, seed) for seed, _ in wanted])
        for (seed, note), outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, Episode):
                yield replace(outcome, provenance={**outcome.provenance, **note})
                continue
            failed += 1
            if failed > allowed:
                raise ExpertFailedError(
                    f"task {task.id!r}: {name} failed on {failed} seeds, the last of them {seed}; expected at most "
                    f"{allowed} of {len(seeds)}: {outcome.reason}"
                )
            reason = outcome.reason.strip().splitlines()[-1]
            replacements.append((next(fresh), {"replaces_seed": seed, "failure": reason}))
        wanted = replacements


class _Player:
    """Plays one episode of one of a task's policies, and keeps its environment for the next of the same task."""

    def __init__(self) -> None:
        self._described = b""
        self._policies: dict[str, Policy] = {}
        self._slots: list[_Slot] = []

    def __call__(self, job: tuple[bytes, str, int]) -> Episode:
        described, name, seed = job
        if described != self._described:
            for slot in self._slots:
                slot.environment.close()
            self._policies, self._slots = {}, []
            self._task: Task = pickle.loads(described)
            self._described = described
        if name not in self._policies:
            self._policies[name] = _policy_of(self._task, name)
        if not self._slots:
            self._slots.append(_Slot(self._task, 0))
        return next(_play(self._slots, self._policies[name], [seed]))


def _policy_of(task: Task, name: str) -> Policy:
    if name == "random":
        return RandomPolicy()
    return ExpertPolicy(task.make_expert if name == "expert" else task.baselines[name])


def _play(slots: Sequence[_Slot], policy: Policy, seeds: Sequence[int]) -> Iterator[Episode]:
    waiting = enumerate(seeds)
    busy = [slot for slot in slots if slot.begin(next(waiting, None), policy)]
    done: dict[int, Episode] = {}
    position = 0
    while busy:
        numbers = [slot.number for slot in busy]
        actions = policy.act(numbers, [slot.seen for slot in busy], [slot.mask for slot in busy])
        for slot, action in zip(list(busy), actions, strict=True):
            if slot.step(action):
                done[slot.position] = slot.episode(policy)
                if not slot.begin(next(waiting, None), policy):
                    busy.remove(slot)
        while position in done:
            yield done.pop(position)
            position += 1


@dataclass
class _Transition:
    seen: Observation
    action: Action
    reward: float


def _action_type(environment: gymnasium.Env) -> type:
    match environment.action_space:
        case spaces.Discrete():
            return np.int64
        case spaces.Text():
            return object
    return np.float32


class _Slot:
    def __init__(self, task: Task, number: int) -> None:
        self.task, self.number = task, number
        self.environment = open_environment(task)
        self.position = -1

    def begin(self, place: tuple[int, int] | None, policy: Policy) -> bool:
        if place is None:
            return False
        self.position, self.seed = place
        self.seen, self.info = self.environment.reset(seed=self.seed)
        self.transitions: list[_Transition] = []
        policy.reset([self.number])
        if isinstance(policy, Insider):
            policy.begin(self.number, self.environment, self.seed)
        return True

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        mask = self.info.get("action_mask")
        return None if mask is None else np.asarray(mask, dtype=np.bool_)

    def step(self, action: Action) -> bool:
        action = self._checked(action)
        seen = self.seen
        self.seen, reward, self.terminated, self.truncated, self.info = self.environment.step(action)
        self.transitions.append(_Transition(seen, action, float(reward)))
        return bool(self.terminated or self.truncated)

    def episode(self, policy: Policy) -> Episode:
        provenance = dict(policy.provenance(self.number)) if isinstance(policy, Insider) else {}
        if "summary" in self.info:
            provenance["summary"] = self.info["summary"]
        seen = [transition.seen for transition in self.transitions]
        return Episode(
            task=self.task.id,
            seed=self.seed,
            observations={key: np.stack([np.asarray(step[key]) for step in seen]) for key in sorted(seen[0])},
            actions=np.array([step.action for step in self.transitions], dtype=_action_type(self.environment)),
            rewards=np.array([step.reward for step in self.transitions], dtype=np.float64),
            terminated=bool(self.terminated),
            truncated=bool(self.truncated),
            provenance=provenance,
        )

    def _checked(self, action: Action) -> Action:
        space, mask = self.environment.action_space, self.mask
        if isinstance(space, spaces.Discrete):
            action = int(action)
        elif not isinstance(space, spaces.Text):
            action = np.asarray(action, dtype=np.float32)
        if not space.contains(action) or (mask is not None and not mask[action]):
            legal = f"{space}" if mask is None else f"one of {np.flatnonzero(mask).tolist()}"
            raise ValueError(
                f"task {self.task.id!r}, seed {self.seed}, step {len(self.transitions)}: "
                f"the policy returned the action {action}; expected {legal}"
            )
        return action
