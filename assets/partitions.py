from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cache

import dagster as dg

from tasks.registry import SELECTIONS, tasks_of

# backfill policies, and what Pipes is made of; Dagster's version is pinned
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

ALL_AT_ONCE = dg.BackfillPolicy.single_run()
"""A backfill of many tasks is one run; what is already made is skipped there, so an interrupted one loses nothing."""


@cache
def partitions_of(family: str) -> dg.StaticPartitionsDefinition:
    """Return a family's partitions: the ids of its tasks, the demo's first so that one range covers them."""
    ids = [task.id for task in tasks_of(family)]
    return dg.StaticPartitionsDefinition(sorted(ids, key=lambda task_id: task_id not in SELECTIONS["demo"]))


def group_by_family(task_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the task ids by family, each family's in the order of its partitions."""
    chosen = set(task_ids)
    families = sorted({task_id.split("/", 1)[0] for task_id in chosen})
    return {family: [key for key in partitions_of(family).get_partition_keys() if key in chosen] for family in families}


def find_ranges(family: str, task_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Return the ranges of a family's partitions that cover these tasks and no others, since a run takes one range."""
    keys: Sequence[str] = partitions_of(family).get_partition_keys()
    places = sorted(keys.index(task_id) for task_id in set(task_ids))
    starts = [place for place in places if place - 1 not in places]
    ends = [place for place in places if place + 1 not in places]
    return [(keys[start], keys[end]) for start, end in zip(starts, ends, strict=True)]
