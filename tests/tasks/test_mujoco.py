from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tasks.policies import RandomPolicy
from tasks.registry import get_task, tasks_of
from tasks.rollout import roll_out
from tasks.specialists.expert import UntrainedError
from tasks.task import schema_of

pytest.importorskip("mujoco", reason="needs the extra mujoco")

from gymnasium.envs.mujoco import MujocoEnv

from tasks.mujoco.environment import ROBOTS, MujocoEnvironment


def test_every_robot_has_a_stored_form_and_an_expert_or_a_recipe() -> None:
    tasks = tasks_of("mujoco")

    assert [task.name for task in tasks] == sorted(ROBOTS)
    for task in tasks:
        assert schema_of(task).observations["observation"].kind == "continuous"
        assert (task.recipe is None) == (task.expert_route != "specialist")
        if task.recipe is not None:
            json.dumps(task.recipe.to_json())
            with pytest.raises(UntrainedError, match=task.id):
                task.make_expert()


def test_a_number_at_its_centre_is_seen_as_zero_and_one_unit_away_as_the_tanh_of_one() -> None:
    environment = MujocoEnvironment(ROBOTS["Hopper"])
    robot = ROBOTS["Hopper"]

    at_centre = environment.observe(np.array(robot.centres))["observation"]
    a_unit_away = environment.observe(np.array(robot.centres) + np.array(robot.units))["observation"]

    np.testing.assert_array_equal(at_centre, 0.0)
    np.testing.assert_allclose(a_unit_away, np.tanh(1.0), rtol=1e-6)


def test_actions_are_stretched_to_the_actuators_range() -> None:
    environment = MujocoEnvironment(ROBOTS["Pusher"])
    environment.reset(seed=0)

    environment.step(np.full(7, 0.5, dtype=np.float32))

    inner = environment.unwrapped
    assert isinstance(inner, MujocoEnv)
    np.testing.assert_allclose(inner.data.ctrl, 1.0)


@pytest.mark.parametrize("name", ["Walker2d", "Pusher"])
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(name: str) -> None:
    task = get_task(f"mujoco/{name}")

    first, again = (list(roll_out(task, RandomPolicy(), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9]))

    np.testing.assert_array_equal(first.observations["observation"], again.observations["observation"])
    np.testing.assert_array_equal(first.rewards, again.rewards)


def test_units_that_do_not_fit_the_robot_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Hopper-v5 observes \(11,\) numbers.*expected equal shapes"):
        MujocoEnvironment(replace(ROBOTS["Hopper"], units=(1.0,)))
