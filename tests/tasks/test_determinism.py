from __future__ import annotations

from pathlib import Path

import pytest

from storage.trajectories import TrajectoryStore
from tasks.registry import families, get_task, tasks_of
from tasks.rollout import record_expert, start_players
from tasks.task import Task, schema_of

NEEDED = {
    "atari": "ale_py",
    "black_box": "cocoex",
    "dm_control": "dm_control",
    "first_person": "vizdoom",
    "meta_world": "metaworld",
    "modular_rl": "mujoco",
    "mujoco": "mujoco",
    "multi_agent": "mpe2",
    "procgen": "envpool",
}
CHOSEN = {
    "atari": ["breakout", "freeway"],
    "dm_control": ["cartpole-swingup", "reacher-easy", "lqr-lqr_6_2"],
    "modular_rl": ["hopper-3"],
    "mujoco": ["Reacher", "Swimmer", "InvertedDoublePendulum"],
    "procgen": ["maze"],
}
"""Tasks whose experts need no training and little time, of families that have others as well."""


def some_tasks(family: str) -> list[Task]:
    if family in CHOSEN:
        return [get_task(f"{family}/{name}") for name in CHOSEN[family]]
    tasks = [task for task in tasks_of(family) if task.recipe is None and not task.is_own]
    return [tasks[0], tasks[len(tasks) // 2], tasks[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("family", families())
def test_two_runs_of_a_familys_experts_give_equal_digests(family: str, tmp_path: Path) -> None:
    if family in NEEDED:
        pytest.importorskip(NEEDED[family], reason=f"needs the extra {family}")
    if family == "procgen":
        pytest.importorskip("envpool.procgen", reason="needs Debian's libqt5gui5", exc_type=ImportError)

    def make(name: str, tasks: list[Task], num_processes: int) -> dict[str, str]:
        store = TrajectoryStore(str(tmp_path / name))
        with start_players(num_processes) as players:
            return {
                task.id: store.write(
                    task.id, schema_of(task), record_expert(task, range(3), players=players), recipe={}, metadata=dict
                ).digest
                for task in tasks
            }

    tasks = some_tasks(family)
    assert make("one", tasks, 1) == make("two", tasks[::-1], 2)
