from __future__ import annotations

import numpy as np
import pytest

from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

pytest.importorskip("envpool", reason="needs the extra procgen")
pytest.importorskip("envpool.procgen.procgen_envpool", reason="needs the system's Qt 5", exc_type=ImportError)

from tasks.planning import Outcome
from tasks.procgen.environment import ProcgenEnvironment, open_level
from tasks.procgen.instances import GAMES, WITH_GOAL
from tasks.procgen.simulator import ProcgenSimulator


@pytest.mark.parametrize("game", ["starpilot", "coinrun"])
def test_the_seed_fixes_the_episode_whatever_was_played_before(game: str) -> None:
    task = get_task(f"procgen/{game}")

    first, again = (list(roll_out(task, RandomPolicy(), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9]))
    (other,) = roll_out(task, RandomPolicy(), [4], num_slots=1)

    np.testing.assert_array_equal(first.observations["screen"], again.observations["screen"])
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    assert not np.array_equal(first.observations["screen"][0], other.observations["screen"][0])


def test_a_plan_brings_what_the_simulator_says() -> None:
    environment = ProcgenEnvironment("fruitbot")
    environment.reset(seed=3)
    levels = open_level("fruitbot", 3, 4)
    generator = np.random.default_rng(0)
    for _ in range(10):
        environment.step(4)

    plans = [tuple(generator.integers(9, size=40).tolist()) for _ in range(4)]
    foreseen = ProcgenSimulator(levels, environment.actions).play(plans)[2]
    for action, outcome in zip(plans[2], foreseen, strict=False):
        _, reward, terminated, _, _ = environment.step(action)
        assert outcome == Outcome(reward, terminated and reward <= 0)
    levels.close()


def test_the_explorer_finds_the_same_way_to_the_cheese_every_time() -> None:
    task = get_task("procgen/maze")

    first, again = (list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1)) for seeds in ([5], [2, 5]))

    assert [episode.total_return for episode in first + again] == [10.0] * 3
    np.testing.assert_array_equal(first[0].actions, again[1].actions)


def test_all_games_are_there() -> None:
    assert [task.name for task in tasks_of("procgen")] == list(GAMES)
    assert len(GAMES) == 16
    assert set(WITH_GOAL) < set(GAMES)


def test_a_level_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        ProcgenEnvironment("maze").reset()


@pytest.mark.slow
@pytest.mark.parametrize("game", ["maze", "starpilot"])
def test_the_experts_are_proven(game: str) -> None:
    task = get_task(f"procgen/{game}")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
