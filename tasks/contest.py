from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.pocock import confidence_of_a_look

SCORE_LIMITS = (-1.0, 2.0)
"""Where a task's mean score is cut off, so that no task with an expert near its floor outweighs all others."""

_LEAST_PAIRS = 2
_MOST_LOOKS = 10  # the episodes double with each


@dataclass(frozen=True)
class Rules:
    """When a challenger may take the champion's place.

    The margins are shares of the way from floor to expert. A challenger is let in when the lower ends of all intervals
    are above minus their margins. As all must hold, a worse one gets in no more often than a single interval errs, and
    no correction for their number is due (Berger, "Multiparameter hypothesis testing and acceptance sampling", 1982);
    the price is that few episodes let nobody in, so where they do not tell, both play on (``tasks.looks``).

    Args:
        overall_margin: How much worse than the champion it may be in the mean over all tasks.
        family_margin: How much worse in the mean over a family's tasks.
        confidence: Of an interval over all looks together, two-sided: at 0.9 its lower end is above the truth at any of
            the looks in one case of twenty.
        more_looks: How often both may double their episodes when these do not tell; with 3, from 20 up to 160 a task.
        draws: Resamples of the bootstrap.
        seed: Seed of the resampling.

    Raises:
        ValueError: If a margin or the number of looks is negative, there are more than 10 more looks, the confidence
            is not between 0 and 1, or there are no draws.
    """

    overall_margin: float = 0.02
    family_margin: float = 0.05
    confidence: float = 0.9
    more_looks: int = 3
    draws: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.overall_margin, self.family_margin) < 0 or not 0 < self.confidence < 1 or self.draws < 1:
            raise ValueError(f"{self}: expected margins from 0 on, a confidence between 0 and 1, and at least one draw")
        if not 0 <= self.more_looks <= _MOST_LOOKS:
            raise ValueError(f"a contest has {self.more_looks} more looks; expected 0 to {_MOST_LOOKS}")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rules:
        """Read the fields that differ from the defaults.

        Raises:
            ValueError: If a key is no field, or a value makes no sense.
        """
        names = [field.name for field in fields(cls)]
        if unknown := sorted(set(value) - set(names)):
            raise ValueError(f"a contest has no rule {unknown[0]!r}; expected some of {', '.join(names)}")
        return cls(**value)


@dataclass(frozen=True)
class TaskReturns:
    """How a checkpoint did in one task.

    Args:
        task: Id of the task.
        returns: Returns, one an episode.
        seeds: The episodes' seeds.
        floor: Mean return that counts as 0.
        expert: Mean return that counts as 1.
        code_version: Version of the task that was played.
        evaluation: Digest of the stored evaluation.
    """

    task: str
    returns: Sequence[float]
    seeds: Sequence[int]
    floor: float
    expert: float
    code_version: str = ""
    evaluation: str = ""

    @property
    def score(self) -> float | None:
        """The expert-normalised score; None where the expert is not better than the floor."""
        if self.expert <= self.floor:
            return None
        return (float(np.mean(self.returns)) - self.floor) / (self.expert - self.floor)


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion, in one task or in the mean over several.

    Args:
        name: Task id, family or ``all``.
        challenger: Expert-normalised score of the challenger, within ``SCORE_LIMITS``.
        champion: That of the champion, on the same seeds.
        difference: The first minus the second.
        low: Lower end of the interval of the difference.
        high: Upper end.
        num_tasks: Tasks that it is the mean over.
        num_pairs: Fewest episodes on equal seeds of a task.
        margin: How far below 0 the lower end may lie; None in a single task, where it may lie anywhere.
    """

    name: str
    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    num_tasks: int
    num_pairs: int
    margin: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the challenger is shown to be no worse than the margin allows."""
        return self.margin is None or self.low >= -self.margin

    def may_hold(self, looks_left: int) -> bool:
        """Whether the last look may show it, were the truth at the upper end of the interval.

        Args:
            looks_left: Looks that follow, each on twice the episodes.
        """
        reach = (self.difference - self.low) / 2 ** (looks_left / 2)
        return self.holds or self.margin is None or self.high - reach >= -self.margin

    def describe(self) -> str:
        """Say in words what came out, and if it is too close to tell, how many episodes would tell."""
        found = f"{self.name} {self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        if self.holds or self.margin is None:
            return found
        if self.difference <= -self.margin:
            return f"{found}: worse than the {self.margin:g} allowed"
        needed = math.ceil(self.num_pairs * ((self.difference - self.low) / (self.difference + self.margin)) ** 2)
        return f"{found}: not shown to be within {self.margin:g}; about {needed} episodes a task would tell"


@dataclass(frozen=True)
class Contest:
    """A challenger compared with the champion.

    Args:
        overall: Over all tasks that both played; None when there are none.
        families: By family.
        tasks: By task.
        not_compared: Why tasks of both do not count, by id.
        new: Tasks that the champion has not; they do not count.
        gone: Tasks that the challenger has not; they do not count.
        looks: By look, what was not shown before it. ``overall`` and ``families`` hold each one's last.
    """

    overall: Difference | None
    families: tuple[Difference, ...]
    tasks: tuple[Difference, ...]
    not_compared: Mapping[str, str]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    looks: tuple[tuple[Difference, ...], ...]

    @property
    def tests(self) -> tuple[Difference, ...]:
        """What must hold: over all tasks, and by family; empty when nothing can be compared."""
        return (self.overall, *self.families) if self.overall else ()

    @property
    def is_won(self) -> bool:
        """Whether the challenger may take the champion's place."""
        return bool(self.tests) and all(one.holds for one in self.tests)

    @property
    def reason(self) -> str:
        """Why, or why not."""
        if self.overall is None:
            return "no task of the champion was played again on equal seeds, so nothing can be compared"
        if lost := [one for one in self.tests if not one.holds]:
            told = "; ".join(one.describe() for one in lost)
        else:
            told = f"not worse, overall and in each of {len(self.families)} families: {self.overall.describe()}"
        if len(self.looks) == 1:
            return told
        return f"{told} ({len(self.looks)} looks, at up to {self.most_episodes} episodes a task)"

    @property
    def most_episodes(self) -> int:
        """Most episodes on equal seeds of a task."""
        return max((one.num_pairs for one in self.tasks), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as JSON values."""
        return asdict(self)


def compare(challenger: Iterable[TaskReturns], champion: Iterable[TaskReturns], rules: Rules) -> Contest:
    """Compare two checkpoints by a bootstrap over pairs of episodes with equal seeds, in a single look.

    The tasks are those that count, not a sample of others, and these two checkpoints are what may serve: so tasks and
    checkpoints stay as they are, and episodes are drawn within each task, both players' of a seed together. What an
    interval tells is the chance of the episodes; a second training with another seed may still come out otherwise.
    Both players are measured by the challenger's floor and expert. Tasks count equally, as in the report's mean.
    Resampled means vary by ``sqrt(1 - 1/n)`` too little, which is made good; with equal differences in all episodes
    of a task there is nothing to vary, and its interval is a point.

    Args:
        challenger: What the new checkpoint did, by task.
        champion: What the one that serves did.
        rules: Margins, draws, seed, and the confidence, which is shared out over all looks. Each task's draws follow
            from the seed and its id alone.

    Source:
        Efron and Tibshirani, "An introduction to the bootstrap", 1993 (percentile intervals; standard errors of means).
        Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", 2021 (strata by task).
    """
    new_ones, old_ones = ({one.task: one for one in some} for some in (challenger, champion))
    shared = [task for task in new_ones if task in old_ones]
    reasons = {task: reason for task in shared if (reason := _why_not(new_ones[task], old_ones[task]))}
    results = {task: _resample(new_ones[task], old_ones[task], rules) for task in shared if task not in reasons}
    by_family: dict[str, list[_Resampled]] = {}
    for task, result in results.items():
        by_family.setdefault(task.split("/", 1)[0], []).append(result)
    everything = list(results.values())
    overall = _summarise("all", everything, rules, rules.overall_margin) if everything else None
    families = tuple(_summarise(name, by_family[name], rules, rules.family_margin) for name in sorted(by_family))
    return Contest(
        overall=overall,
        families=families,
        tasks=tuple(_summarise(task, [result], rules, None) for task, result in results.items()),
        not_compared=reasons,
        new=tuple(task for task in new_ones if task not in old_ones),
        gone=tuple(task for task in old_ones if task not in new_ones),
        looks=((overall, *families),) if overall else (),
    )


@dataclass(frozen=True)
class _Resampled:
    challenger: float
    champion: float
    differences: NDArray[np.float64]  # (draws,)
    num_pairs: int


def _why_not(challenger: TaskReturns, champion: TaskReturns) -> str | None:
    if challenger.expert <= challenger.floor:
        return "the score is undefined: the expert is no better than the floor"
    if challenger.code_version != champion.code_version:
        return f"the task has changed, from version {champion.code_version} to {challenger.code_version}"
    if (found := len(set(challenger.seeds) & set(champion.seeds))) < _LEAST_PAIRS:
        return f"{found} equal seeds; expected at least {_LEAST_PAIRS}"
    return None


def _resample(challenger: TaskReturns, champion: TaskReturns, rules: Rules) -> _Resampled:
    old = dict(zip(champion.seeds, champion.returns, strict=True))
    pairs = [(won, old[seed]) for seed, won in zip(challenger.seeds, challenger.returns, strict=True) if seed in old]
    scores = (np.array(pairs) - challenger.floor) / (challenger.expert - challenger.floor)  # (pairs, 2)
    means, count = scores.mean(axis=0), len(scores)
    chosen = np.random.default_rng([rules.seed, *challenger.task.encode()]).integers(count, size=(rules.draws, count))
    drawn = means + math.sqrt(count / (count - 1)) * (scores[chosen].mean(axis=1) - means)  # (draws, 2)
    limited, (ours, theirs) = np.clip(drawn, *SCORE_LIMITS), np.clip(means, *SCORE_LIMITS)
    return _Resampled(float(ours), float(theirs), limited[:, 0] - limited[:, 1], count)


def _summarise(name: str, results: Sequence[_Resampled], rules: Rules, margin: float | None) -> Difference:
    outside = 50 * (1 - confidence_of_a_look(rules.confidence, 1 + rules.more_looks))
    low, high = np.percentile(np.mean([one.differences for one in results], axis=0), [outside, 100 - outside])
    challenger, champion = (
        float(np.mean([getattr(one, who) for one in results])) for who in ("challenger", "champion")
    )
    return Difference(
        name=name,
        challenger=challenger,
        champion=champion,
        difference=challenger - champion,
        low=float(low),
        high=float(high),
        num_tasks=len(results),
        num_pairs=min(one.num_pairs for one in results),
        margin=margin,
    )
