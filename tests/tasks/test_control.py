from __future__ import annotations

import numpy as np
import pytest

from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.registry import tasks_of
from tasks.rollout import roll_out
from tasks.task import Task, schema_of

NAMES = [task.name for task in tasks_of("control")]
TASKS = {task.name: task for task in tasks_of("control")}

GOOD = {
    "CartPole": 500,
    "MountainCar": -125,
    "MountainCarContinuous": 90,
    "Acrobot": -100,
    "Pendulum": -200,
    "LunarLander": 200,
    "LunarLanderContinuous": 230,
}
"""Mean returns that count as good: gymnasium's reward thresholds or above where it states one."""


@pytest.mark.parametrize("task", TASKS.values(), ids=NAMES)
def test_the_expert_is_good_and_beats_random(task: Task) -> None:
    expert = [episode.total_return for episode in roll_out(task, ExpertPolicy(task.make_expert), range(6), num_slots=1)]
    random = [episode.total_return for episode in roll_out(task, RandomPolicy(), range(6), num_slots=1)]

    assert np.mean(expert) >= GOOD[task.name]
    assert min(expert) > np.mean(random)


@pytest.mark.parametrize("task", TASKS.values(), ids=NAMES)
def test_observations_and_actions_lie_within_one(task: Task) -> None:
    schema = schema_of(task)
    [episode] = roll_out(task, RandomPolicy(), [0], num_slots=1)

    assert (schema.observations["observation"].low, schema.observations["observation"].high) == (-1, 1)
    assert np.abs(episode.observations["observation"]).max() <= 1
    assert np.abs(episode.observations["observation"][:, :2]).max() > 0.1
    assert schema.action.kind == ("continuous" if episode.actions.dtype == np.float32 else "discrete")
