from __future__ import annotations

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out
from tasks.specialists.expert import UntrainedError
from tasks.task import schema_of, unwrap

pytest.importorskip("mujoco", reason="needs the extra mujoco")

from gymnasium.envs.mujoco import MujocoEnv

from tasks.mujoco.environment import ROBOTS, MujocoEnvironment
from tasks.mujoco.expert import BalancingExpert, linearise, solve_regulator
from tasks.mujoco.feedback import apply_gains
from tasks.mujoco.reach import ReachPlan, find_angles_rad, find_tip_m


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

    np.testing.assert_allclose(unwrap(environment, MujocoEnv).data.ctrl, 1.0)


@pytest.mark.parametrize(
    ("name", "is_random"), [("Walker2d", True), ("Pusher", True), ("Reacher", False), ("InvertedPendulum", False)]
)
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(name: str, is_random: bool) -> None:
    task = get_task(f"mujoco/{name}")

    first, again = (
        list(roll_out(task, RandomPolicy() if is_random else ExpertPolicy(task.make_expert), seeds, num_slots=1))[-1]
        for seeds in ([9], [4, 9])
    )

    np.testing.assert_array_equal(first.observations["observation"], again.observations["observation"])
    np.testing.assert_array_equal(first.rewards, again.rewards)


def test_units_that_do_not_fit_the_robot_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Hopper-v5 observes \(11,\) numbers.*expected equal shapes"):
        MujocoEnvironment(replace(ROBOTS["Hopper"], units=(1.0,)))


def test_the_regulator_of_the_simplest_system_is_the_golden_ratios() -> None:
    # x' = x + u at costs of 1 and 1: the cost to go P solves P = 1 + P / (1 + P), so P is the golden ratio.
    one = np.eye(1)

    golden = (1.0 + np.sqrt(5.0)) / 2.0
    np.testing.assert_allclose(solve_regulator(one, one, one, one), golden / (1.0 + golden), rtol=1e-6)


def test_poles_fall_by_themselves_and_stand_under_the_regulator() -> None:
    robot = unwrap(MujocoEnvironment(ROBOTS["InvertedDoublePendulum"]), MujocoEnv)
    a, b = linearise(robot)

    gains = solve_regulator(a, b, np.eye(6), np.eye(1))

    assert np.abs(np.linalg.eigvals(a)).max() > 1.5
    assert np.abs(np.linalg.eigvals(a - b @ gains)).max() < 1.0


def test_a_system_that_cannot_be_held_is_refused() -> None:
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="does not settle"):
        solve_regulator(2.0 * np.eye(1), np.zeros((1, 1)), np.eye(1), np.eye(1))


@pytest.mark.parametrize("side", [1, -1])
def test_the_angles_for_a_goal_put_the_tip_there(side: int) -> None:
    goal_m = np.array([-0.05, 0.12])

    angles_rad = find_angles_rad(goal_m, np.array([9.0, 0.0]), side)

    np.testing.assert_allclose(find_tip_m(angles_rad[None])[0], goal_m, atol=1e-12)
    assert abs(angles_rad[0] - 9.0) <= np.pi


def test_a_plan_at_the_goal_is_to_do_nothing() -> None:
    angles_rad = np.array([0.3, 1.1])

    actions = ReachPlan(0.02).begin(angles_rad, np.zeros(2), find_tip_m(angles_rad[None])[0])

    np.testing.assert_allclose(actions, 0.0, atol=1e-6)


def test_feedback_adds_its_last_column_and_sorts_what_it_sees_by_name() -> None:
    action = apply_gains(np.array([[0.5, 0.25, 0.1]]), {"b": np.array([1.0]), "a": np.array([-1.0])})

    np.testing.assert_allclose(action, -0.5 + 0.25 + 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "published"), [("InvertedPendulum", 475.4), ("InvertedDoublePendulum", 9338.7), ("Swimmer", 281.6)]
)
def test_an_expert_reaches_the_published_score(name: str, published: float) -> None:
    task = get_task(f"mujoco/{name}")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [1_000_000], num_slots=1)

    assert episode.total_return > published


def test_the_arm_that_reaches_is_proven_and_better_than_published() -> None:
    task = get_task("mujoco/Reacher")

    scores = measure_reference_scores(task)

    assert find_doubt(scores, task.floor) is None
    assert scores["expert"]["mean"] > -5.678  # Gallouédec et al., arXiv:2402.09844


def test_experts_need_a_simulation() -> None:
    with pytest.raises(ValueError, match="an environment of type CartPoleEnv; expected MujocoEnv"):
        BalancingExpert((1.0,), 1.0).reset(gymnasium.make("CartPole-v1"))
