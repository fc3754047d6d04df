from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.partitions import find_ranges, group_by_family, partitions_of
from tasks.registry import SELECTIONS, families, tasks_of


@pytest.mark.parametrize("family", families())
def test_a_family_has_a_partition_for_each_of_its_tasks(family: str) -> None:
    keys = partitions_of(family).get_partition_keys()

    assert sorted(keys) == sorted(task.id for task in tasks_of(family))


def test_the_demos_tasks_of_a_family_are_one_range() -> None:
    for family, task_ids in group_by_family(SELECTIONS["demo"]).items():
        assert find_ranges(partitions_of(family).get_partition_keys(), task_ids) == [(task_ids[0], task_ids[-1])]


@given(chosen=st.sets(st.sampled_from(partitions_of("babyai").get_partition_keys())))
def test_ranges_cover_the_chosen_tasks_and_no_others(chosen: set[str]) -> None:
    keys = list(partitions_of("babyai").get_partition_keys())

    ranges = find_ranges(keys, chosen)

    covered = [key for first, last in ranges for key in keys[keys.index(first) : keys.index(last) + 1]]
    assert sorted(covered) == sorted(chosen)
    assert len(ranges) <= len(chosen)
