from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.multi_agent.factorisations import FACTORISATIONS
from tasks.multi_agent.instances import slow_down
from tasks.multi_agent.scenarios import SCENARIOS
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out
from tasks.specialists.recipe import Recipe
from tasks.task import open_environment

pytest.importorskip("mpe2", reason="needs the extra multi_agent")
pytest.importorskip("gymnasium_robotics", reason="needs the extra multi_agent")

import gymnasium
from mpe2 import simple_spread_v3

from tasks.multi_agent.bodies import BodyGame
from tasks.multi_agent.lookahead import choose_move, foresee
from tasks.multi_agent.particles import ParticleGame
from tasks.multi_agent.turns import TurnEnvironment


def test_turns_pay_what_the_joint_game_pays_and_only_at_the_last_agent() -> None:
    (episode,) = roll_out(get_task("multi_agent/spread-3"), RandomPolicy(), [5], num_slots=1)

    joint = simple_spread_v3.parallel_env(N=3, max_cycles=25)
    joint.reset(seed=5)
    paid = [
        sum(joint.step(dict(zip(joint.agents, map(int, actions), strict=True)))[1].values())
        for actions in episode.actions.reshape(25, 3)
    ]

    assert episode.truncated
    assert not episode.rewards.reshape(25, 3)[:, :2].any()
    np.testing.assert_allclose(episode.rewards.reshape(25, 3)[:, 2], paid)


def test_a_robot_that_is_shared_out_moves_as_the_whole_one() -> None:
    (episode,) = roll_out(get_task("multi_agent/Walker2d-2x3"), RandomPolicy(), [5], num_slots=1)

    robot = gymnasium.make("Walker2d-v5")
    robot.reset(seed=5)
    paid = [float(robot.step(torques[[2, 1, 0, 5, 4, 3]])[1]) for torques in episode.actions.reshape(-1, 6)]

    assert episode.terminated
    np.testing.assert_allclose(episode.rewards.reshape(-1, 2)[:, 1], paid, atol=1e-6)


def test_an_agent_sees_whose_turn_it_is_and_what_those_before_it_chose() -> None:
    environment = open_environment(get_task("multi_agent/spread-3"))
    environment.reset(seed=0)

    environment.step(4)
    seen, *_ = environment.step(0)

    assert seen["agent"].tolist() == [2]
    assert seen["chosen"].tolist() == [5, 1]


def test_an_agent_of_a_robot_sees_its_own_joints_first() -> None:
    game = BodyGame(FACTORISATIONS["HalfCheetah-2x3"])
    environment = TurnEnvironment(game)
    first, _ = environment.reset(seed=0)
    second, *_ = environment.step(np.full(3, 0.5, dtype=np.float32))
    robot: Any = game.body.unwrapped
    angles = robot.data.qpos[3:9]

    np.testing.assert_allclose(first["view"][:3], np.tanh(angles[:3] / 0.6), rtol=1e-5)
    np.testing.assert_allclose(second["view"][:3], np.tanh(angles[3:] / 0.6), rtol=1e-5)
    assert second["agent"].tolist() == [0.0, 1.0]
    assert second["chosen"].tolist() == [0.5, 0.5, 0.5]


def test_who_only_speaks_has_no_moves() -> None:
    environment = open_environment(get_task("multi_agent/speaker-listener"))

    _, info = environment.reset(seed=0)
    _, _, _, _, later = environment.step(2)

    assert info["action_mask"].tolist() == [True, True, True, False, False]
    assert later["action_mask"].all()


def test_what_is_foreseen_happens_and_leads_to_the_target() -> None:
    game = ParticleGame(SCENARIOS["simple"], lambda *_: 0)
    game.reset(3)
    (agent,) = game.world.agents
    agent.state.p_pos = np.array([-1.0, 0.0])
    agent.state.p_vel = np.array([0.2, 0.1])
    path = foresee(game.world, agent, 2)

    move = choose_move(game.world, agent, lambda paths: np.linalg.norm(paths[:, -1] - [0.5, 0.0], axis=1))
    places = []
    for action in (2, 0, 0):
        game.play([action])
        places.append(agent.state.p_pos.copy())

    assert move == 2
    np.testing.assert_allclose(path[:3], places)


def test_the_one_time_pad_is_read_by_who_has_the_key() -> None:
    task = get_task("multi_agent/crypto")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [8], num_slots=1)

    assert (episode.rewards[3::2] >= 0.0).all()  # the listener is right from the second joint step on


@pytest.mark.parametrize("name", ["tag-3x1", "crypto", "treasure-2x1", "ManySegmentSwimmer-2x2"])
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(name: str) -> None:
    task = get_task(f"multi_agent/{name}")

    first, again = (
        list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9])
    )

    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    for key, seen in first.observations.items():
        np.testing.assert_array_equal(seen, again.observations[key])


def test_the_expert_is_proven() -> None:
    task = get_task("multi_agent/push-adversary")

    assert find_doubt(measure_reference_scores(task), task.floor) is None


def test_a_slowed_recipe_weighs_a_joint_step_as_a_step_before() -> None:
    recipe = Recipe("ppo", 1000, 1.0, "a paper", hyperparameters={"gamma": 0.98, "n_steps": 512})

    slow = slow_down(recipe, 2)

    assert (slow.steps, slow.hyperparameters["n_steps"]) == (2000, 1024)
    assert slow.hyperparameters["gamma"] ** 2 == pytest.approx(0.98, abs=1e-5)
    assert all((task.expert_route == "specialist") == (task.recipe is not None) for task in tasks_of("multi_agent"))


def test_a_start_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        open_environment(get_task("multi_agent/simple")).reset()
