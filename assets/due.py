from __future__ import annotations

import dagster as dg

from assets.partitions import PARTITIONED_STAGES, group_by_family
from assets.resources import Experiment, Stores
from assets.selection import trained_tasks
from assets.staleness import Survey

_OF_PROVEN = ("tokens", "shards", "checkpoint", "evaluation", "champion", "report")
_CHECKED_BEFORE = {
    "trajectories": "tokens",
    "tokens": "shards",
    "shards": "checkpoint",
    "evaluation": "champion",
    "champion": "report",
}
"""The stage for which the checks of a stage stand guard."""

_DATA_VERSION = "dagster/data_version"


def find_due(stage: str, stores: Stores, experiment: Experiment, instance: dg.DagsterInstance) -> list[str]:
    """Return what a job has to do in a stage: a run for all else would find it made, checked and recorded.

    Due is what is missing or out of date; what Dagster has recorded otherwise than it lies on disk, such as imported
    episodes; and what the next stage is going to use for the first time, so that its checks are made before.

    Args:
        stage: The stage; all before it are made.
        stores: What is on disk.
        experiment: What is made.
        instance: What Dagster has recorded.

    Returns:
        Task ids, or of a stage that is one for all tasks the experiment's name; nothing when all is as it should be.

    Raises:
        ValueError: If the experiment takes proven tasks alone, and no expert is.
    """
    if stage in _OF_PROVEN:
        trained_tasks(stores, experiment)
    survey = Survey(stores, experiment, read_sentences=stage == "tokenizer")
    findings = survey.run()
    stages = (stage, _CHECKED_BEFORE.get(stage, stage))
    due = {finding.name for finding in findings if finding.stage in stages}
    present = {name: digest for (of, name), digest in survey.digests.items() if of == stage}
    if stage not in PARTITIONED_STAGES:
        return [experiment.name] if due or present.get(experiment.name) != _recorded_whole(instance, stage) else []
    of_tasks = [finding.name for finding in findings if finding.stage == stage] + list(present)
    if experiment.name in due and stage != "tokens":  # what comes next takes all tasks, not what was packed anew
        return list(dict.fromkeys(of_tasks))
    for family, tasks in group_by_family(present).items():
        recorded = _recorded_tasks(instance, stage, family)
        due |= {task_id for task_id in tasks if recorded.get(task_id) != present[task_id]}
    return [task_id for task_id in dict.fromkeys(of_tasks) if task_id in due]


def _recorded_whole(instance: dg.DagsterInstance, stage: str) -> str | None:
    """Return the data version that Dagster has of a stage that is one for all tasks."""
    event = instance.get_latest_materialization_event(dg.AssetKey([stage]))
    made = event and event.asset_materialization
    return (made.tags or {}).get(_DATA_VERSION) if made else None


def _recorded_tasks(instance: dg.DagsterInstance, stage: str, family: str) -> dict[str, str]:
    """Return the data versions that Dagster has of a family, by task."""
    found = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey([stage, family]), dg.DagsterEventType.ASSET_MATERIALIZATION, [_DATA_VERSION]
    )
    return {task_id: tags[_DATA_VERSION] for task_id, tags in found.items() if _DATA_VERSION in tags}
