from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cache

import dagster as dg

from tasks.registry import SELECTIONS, get_task, tasks_of

# backfill policies, and what Pipes is made of; Dagster's version is pinned
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

ALL_AT_ONCE = dg.BackfillPolicy.single_run()
"""A backfill of many tasks is one run; what is already made is skipped there, so an interrupted one loses nothing."""


PARTITIONED_STAGES = ("specialists", "trajectories", "tokens", "evaluation")
"""The stages whose assets have a partition a task."""


@cache
def partitions_of(family: str) -> dg.StaticPartitionsDefinition:
    """Return a family's partitions: the ids of its tasks, the demo's first so that one range covers them."""
    ids = [task.id for task in tasks_of(family)]
    return dg.StaticPartitionsDefinition(sorted(ids, key=lambda task_id: task_id not in SELECTIONS["demo"]))


@cache
def specialists_of(family: str) -> dg.StaticPartitionsDefinition:
    """Return the partitions of the tasks of a family whose expert is a specialist; none for most families."""
    return dg.StaticPartitionsDefinition(
        [task_id for task_id in partitions_of(family).get_partition_keys() if get_task(task_id).recipe]
    )


def group_by_family(task_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the task ids by family, each family's in the order of its partitions."""
    chosen = set(task_ids)
    families = sorted({task_id.split("/", 1)[0] for task_id in chosen})
    return {family: [key for key in partitions_of(family).get_partition_keys() if key in chosen] for family in families}


def find_ranges(keys: Sequence[str], task_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Return the ranges of partitions that cover these tasks and no others, since a run takes one range.

    Args:
        keys: All partitions, in their order.
        task_ids: The tasks; those that are no partition are left out.
    """
    places = sorted(keys.index(task_id) for task_id in set(task_ids) & set(keys))
    starts = [place for place in places if place - 1 not in places]
    ends = [place for place in places if place + 1 not in places]
    return [(keys[start], keys[end]) for start, end in zip(starts, ends, strict=True)]
