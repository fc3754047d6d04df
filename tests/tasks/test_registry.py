from __future__ import annotations

import pytest

from tasks.registry import SELECTIONS, families, get_task, list_task_ids, select_tasks, tasks_of


def test_an_unknown_task_is_answered_with_the_closest_ids() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'control/cartpol'; did you mean control/CartPole\b.*db1 tasks"):
        get_task("control/cartpol")


def test_an_unknown_family_or_selection_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown family 'chess'; expected one of .*control"):
        tasks_of("chess")
    with pytest.raises(ValueError, match="unknown selection 'dmo'; did you mean demo"):
        select_tasks("dmo")


def test_every_id_is_listed_once_and_leads_to_its_task() -> None:
    ids = list_task_ids()

    assert len(ids) == len(set(ids)) == sum(len(tasks_of(family)) for family in families())
    assert [get_task(task_id).id for task_id in ids] == ids
    assert set(SELECTIONS["demo"]) <= set(SELECTIONS["full"]) == {one for one in ids if not get_task(one).is_own}


def test_selections_families_and_ids_mix() -> None:
    chosen = select_tasks("control, control/CartPole")

    assert chosen == tuple(task.id for task in tasks_of("control"))
