from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

THRESHOLDS = tuple(step / 20 for step in range(21))
"""Shares of the expert's score at which tasks are counted."""


def normalise(score: float, floor: float, expert: float) -> float | None:
    """Return the share of the way from the floor's score to the expert's: 0 is the floor, 1 the expert.

    Args:
        score: Mean return to be judged.
        floor: Mean return that counts as 0, of the random policy or another baseline.
        expert: Mean return that counts as 1.

    Returns:
        The expert-normalised score, or None where it is undefined: the expert is not better than the floor.

    Raises:
        ValueError: If a score is not finite.
    """
    if not np.isfinite([score, floor, expert]).all():
        raise ValueError(f"scores must be finite; found score {score}, floor {floor}, expert {expert}")
    return None if expert <= floor else (score - floor) / (expert - floor)


@dataclass(frozen=True)
class Verdict:
    """How a policy did in one task, measured against its reference scores.

    Args:
        task: Id of the task.
        num_episodes: Episodes played.
        score: Mean return of the policy.
        floor: Mean return that counts as 0.
        floor_name: Who reached it: ``random`` or a baseline.
        expert: Mean return of the expert.
        normalised: Expert-normalised score; None where it is undefined.
        gap: Distance to the expert as a share of the size of its score, positive when worse; None when that is 0. For
            returns that are negative costs it is the optimality gap.
    """

    task: str
    num_episodes: int
    score: float
    floor: float
    floor_name: str
    expert: float
    normalised: float | None
    gap: float | None

    def reaches(self, threshold: float) -> bool:
        """Say whether the score is defined and at least this share of the expert's."""
        return self.normalised is not None and self.normalised >= threshold


def judge(
    task_id: str, returns: Sequence[float], reference_scores: Mapping[str, Mapping[str, Any]], floor: str
) -> Verdict:
    """Measure a policy's returns against a task's reference scores.

    Args:
        task_id: Id of the task.
        returns: Returns of the policy, one an episode.
        reference_scores: What ``measure_reference_scores`` returned.
        floor: Name of the reference score that counts as 0.

    Raises:
        ValueError: If there are no returns, or a reference score is missing.
    """
    if len(returns) == 0:
        raise ValueError(f"task {task_id!r}: no returns to judge; expected at least one episode")
    missing = {floor, "expert"} - set(reference_scores)
    if missing:
        raise ValueError(
            f"task {task_id!r}: no reference score of {', '.join(sorted(missing))}, only of "
            f"{', '.join(sorted(reference_scores))}; make its trajectories again with:\n"
            f"  dg launch --assets trajectories/{task_id.split('/', 1)[0]} --partition {task_id}"
        )
    score, expert = float(np.mean(returns)), float(reference_scores["expert"]["mean"])
    floor_score = float(reference_scores[floor]["mean"])
    return Verdict(
        task=task_id,
        num_episodes=len(returns),
        score=score,
        floor=floor_score,
        floor_name=floor,
        expert=expert,
        normalised=normalise(score, floor_score, expert),
        gap=(expert - score) / abs(expert) if expert else None,
    )


@dataclass(frozen=True)
class Summary:
    """The scores of many tasks in a few numbers; a task without a defined score is listed and not counted.

    Args:
        num_tasks: Tasks with a defined score.
        undefined: Ids of the others.
        mean: Mean of the expert-normalised scores.
        interquartile_mean: Mean of their middle half.
        interval: 95 % bootstrap interval of the interquartile mean.
        reached: For each threshold the number of tasks at or above it.
    """

    num_tasks: int
    undefined: tuple[str, ...]
    mean: float
    interquartile_mean: float
    interval: tuple[float, float]
    reached: Mapping[float, int]


def summarise(verdicts: Sequence[Verdict], *, thresholds: Sequence[float] = THRESHOLDS, seed: int = 0) -> Summary:
    """Sum up the verdicts over tasks.

    Raises:
        ValueError: If no task has a defined score.
    """
    scores = np.array([verdict.normalised for verdict in verdicts if verdict.normalised is not None])
    if len(scores) == 0:
        raise ValueError(f"none of {len(verdicts)} tasks has a defined score; expected at least one")
    return Summary(
        num_tasks=len(scores),
        undefined=tuple(verdict.task for verdict in verdicts if verdict.normalised is None),
        mean=float(scores.mean()),
        interquartile_mean=interquartile_mean(scores),
        interval=bootstrap_interval(scores, interquartile_mean, seed=seed),
        reached={float(threshold): int((scores >= threshold).sum()) for threshold in thresholds},
    )


def interquartile_mean(scores: ArrayLike) -> float:
    """Return the mean of the middle half: a quarter of the values, rounded down, is left out at either end.

    Source:
        Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", 2021.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_interval(
    scores: ArrayLike, statistic: Callable[[NDArray[np.float64]], float], *, seed: int, num_resamples: int = 2000
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic over resampled tasks.

    Args:
        scores: One score a task.
        statistic: What is computed of the scores.
        seed: Seed of the resampling.
        num_resamples: Number of resamples.

    Source:
        Efron, "Bootstrap methods: another look at the jackknife", 1979.
    """
    values = np.asarray(scores, dtype=np.float64)
    chosen = np.random.default_rng(seed).integers(len(values), size=(num_resamples, len(values)))
    statistics = [statistic(values[rows]) for rows in chosen]
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)
