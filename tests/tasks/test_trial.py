from __future__ import annotations

import pytest

from tasks.registry import families, list_task_ids, tasks_of
from tasks.trial import try_tasks


def test_a_task_that_cannot_run_is_told_with_its_reason_and_the_others_run() -> None:
    good, bad, last = try_tasks(["control/CartPole", "control/NoSuchTask", "control/Pendulum"], num_processes=1)

    assert (good.fault, last.fault) == ("", "")
    assert good.seconds is not None
    assert bad.seconds is None
    assert "unknown task 'control/NoSuchTask'" in bad.fault


def test_more_than_a_thousand_tasks_are_registered() -> None:
    assert len(list_task_ids()) >= 1000


@pytest.mark.slow
@pytest.mark.parametrize("family", families())
def test_every_task_of_a_family_runs(family: str) -> None:
    tasks = [task for task in tasks_of(family) if not task.is_own]
    trials = list(try_tasks([task.id for task in tasks], num_processes=2))

    missing = {trial.fault for trial in trials if "the extra" in trial.fault or "which is not installed" in trial.fault}
    if missing:
        pytest.skip(f"needs the extra {tasks[0].extra}")
    assert not [trial for trial in trials if trial.fault]
