from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from storage.episode import Episode
from tasks.scores import Summary, Verdict, judge, summarise


@dataclass(frozen=True)
class EvaluationRecord:
    """How a checkpoint did in one task.

    Args:
        task: Id of the task, ``family/name``.
        returns: Returns of the model, one an episode.
        seeds: The episodes' seeds.
        reference_scores: Mean, returns and seeds of ``random``, ``expert`` and each baseline, by name.
        floor: Name of the reference score that counts as 0.
        checkpoint: Digest of the checkpoint that played.
        episodes: The model's episodes, where they are to be drawn.
        expert_episodes: The expert's episodes of the same seeds, where they are to be drawn.

    Raises:
        ValueError: If there are not as many seeds as returns.
    """

    task: str
    returns: Sequence[float]
    seeds: Sequence[int]
    reference_scores: Mapping[str, Mapping[str, Any]]
    floor: str
    checkpoint: str
    episodes: Sequence[Episode] = ()
    expert_episodes: Sequence[Episode] = ()

    def __post_init__(self) -> None:
        if len(self.returns) != len(self.seeds):
            raise ValueError(
                f"the evaluation of task {self.task!r} has {len(self.returns)} returns and {len(self.seeds)} seeds; "
                "expected one seed a return"
            )

    @property
    def family(self) -> str:
        """The part of the task's id before the slash."""
        return self.task.split("/", 1)[0]


@dataclass(frozen=True)
class TaskLineage:
    """What a task's part of the training data is made of: the digest and size of each stage.

    Args:
        task: Id of the task.
        trajectories: Digest of its expert episodes.
        num_episodes: Expert episodes.
        tokens: Digest of its tokenized episodes.
        num_tokens: Tokens in them.
        shards: Digest of its shards.
        num_shards: Files that they are packed into.
    """

    task: str
    trajectories: str
    num_episodes: int
    tokens: str
    num_tokens: int
    shards: str
    num_shards: int


@dataclass(frozen=True)
class CheckpointFacts:
    """What there is to say about the checkpoint that played.

    Args:
        digest: Digest of its manifest.
        preset: Name of the model's preset.
        step: Optimiser steps taken.
        num_parameters: Weights of the model.
        date: Day on which it was made, as its manifest says, ``YYYY-MM-DD``.
        history: Rows of its training log: ``step``, ``loss``, ``learning_rate``, ``positions_per_s``.
        facts: Anything else worth a line, by name: seeds, versions of packages, digest of the shard index.
        mixture: What it has seen of each task: ``task``, ``requested_share`` and ``realised_share`` of the sequences,
            ``windows`` (their number), ``epochs`` and ``tokens``.
    """

    digest: str
    preset: str
    step: int
    num_parameters: int
    date: str
    history: Sequence[Mapping[str, float]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    mixture: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Results:
    """Evaluation records, judged.

    Args:
        records: One a task, family by family.
        verdicts: One a record.
        overall: All tasks in a few numbers; None when no task has a defined score.
        by_family: The same for each family with a defined score.
    """

    records: Sequence[EvaluationRecord]
    verdicts: Sequence[Verdict]
    overall: Summary | None
    by_family: Mapping[str, Summary]

    @property
    def families(self) -> list[str]:
        """All families, in the order of the records."""
        return list(dict.fromkeys(record.family for record in self.records))

    def scores(self, family: str | None = None) -> list[float]:
        """Return the defined expert-normalised scores of a family, or of all."""
        pairs = zip(self.records, self.verdicts, strict=True)
        chosen = [verdict.normalised for record, verdict in pairs if family in (None, record.family)]
        return [score for score in chosen if score is not None]


def judge_records(records: Sequence[EvaluationRecord]) -> Results:
    """Judge every record and sum them up, overall and by family.

    Raises:
        ValueError: If there is no record, a task appears twice, or the records are of different checkpoints.
    """
    if not records:
        raise ValueError("no evaluation records to report; evaluate a checkpoint first with:\n  db1 make evaluation")
    tasks = [record.task for record in records]
    if twice := sorted({task for task in tasks if tasks.count(task) > 1}):
        raise ValueError(f"two evaluation records of task {twice[0]!r}; expected one a task")
    if len(digests := sorted({record.checkpoint for record in records})) > 1:
        raise ValueError(
            f"evaluation records of {len(digests)} checkpoints, {digests[0][:12]} and {digests[1][:12]} among them; "
            "expected one; evaluate all tasks with the same checkpoint:\n  db1 make evaluation"
        )
    ordered = sorted(records, key=lambda record: record.family)
    verdicts = [judge(record.task, record.returns, record.reference_scores, record.floor) for record in ordered]
    by_family: dict[str, list[Verdict]] = {}
    for record, verdict in zip(ordered, verdicts, strict=True):
        by_family.setdefault(record.family, []).append(verdict)
    return Results(
        records=ordered,
        verdicts=verdicts,
        overall=summarise(verdicts) if _any_defined(verdicts) else None,
        by_family={family: summarise(some) for family, some in by_family.items() if _any_defined(some)},
    )


def gap_to_expert(record: EvaluationRecord, name: str) -> float | None:
    """Return how far a reference score stands behind the expert, as a share of the size of the expert's score.

    Args:
        record: The task's record.
        name: Name of the reference score.
    """
    scores = record.reference_scores
    return judge(record.task, [scores[name]["mean"]], scores, record.floor).gap if name in scores else None


def standard_error(returns: Sequence[float]) -> float | None:
    """Return the standard error of the mean; None for a single return."""
    return float(np.std(returns, ddof=1) / np.sqrt(len(returns))) if len(returns) > 1 else None


def _any_defined(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.normalised is not None for verdict in verdicts)
