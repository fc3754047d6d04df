from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.policies import ExpertPolicy
from tasks.registry import get_task, tasks_of
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED, open_environment

pytest.importorskip("dm_control", reason="needs the extra dm_control")

from absl.logging import get_absl_handler

from tasks.dm_control.chain import chain_of, step_chain
from tasks.dm_control.environment import SuiteEnvironment, suite
from tasks.dm_control.units import squash

get_absl_handler().python_handler.stream = sys.__stderr__  # it would close pytest's when logging is configured anew


def _play(environment: SuiteEnvironment, seed: int) -> np.ndarray:
    actions = np.random.default_rng(seed)
    first, _ = environment.reset(seed=seed)
    seen = [first["state"]]
    for _ in range(20):
        observation, *_ = environment.step(actions.uniform(-1.0, 1.0, environment.action_space.shape))
        seen.append(observation["state"])
    return np.array(seen)


def test_all_tasks_of_the_package_are_there() -> None:
    assert [task.name for task in tasks_of("dm_control")] == [f"{domain}-{name}" for domain, name in suite.ALL_TASKS]


@pytest.mark.parametrize(
    "task", [task for task in tasks_of("dm_control") if not task.name.startswith("dog-")], ids=lambda task: task.name
)
def test_the_seed_fixes_the_episode_whatever_was_played_before(task) -> None:
    environment = open_environment(task)
    assert isinstance(environment, SuiteEnvironment)

    first, other, again = (_play(environment, seed) for seed in (9, 4, 9))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    assert environment.observation_space.contains({"state": first[-1]})
    assert np.abs(first).max() <= 1.0


@pytest.mark.parametrize(
    ("name", "least"),
    [("lqr-lqr_6_2", 700.0), ("pendulum-swingup", 600.0), ("point_mass-hard", 750.0), ("reacher-hard", 900.0)],
)
def test_a_controller_scores_well(name: str, least: float) -> None:
    task = get_task(f"dm_control/{name}")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [EVALUATION_SEED], num_slots=1)

    assert episode.total_return > least


@pytest.mark.parametrize("name", ["cartpole-three_poles", "pendulum-swingup"])
def test_a_chain_moves_as_in_the_simulator(name: str) -> None:
    environment = SuiteEnvironment(*name.split("-"))
    environment.reset(seed=3)
    data = environment.suite.physics.data
    chain = chain_of(environment.suite.physics.model)
    state = np.concatenate([data.qpos, data.qvel])

    for action in np.random.default_rng(0).uniform(-1.0, 1.0, 50):
        environment.step(np.array([action]))
        state = step_chain(chain, state, action)

    np.testing.assert_allclose(state, np.concatenate([data.qpos, data.qvel]), rtol=0.0, atol=1e-12)


def test_no_renderer_is_loaded() -> None:
    code = (
        "import sys; from tasks.dm_control.environment import SuiteEnvironment; SuiteEnvironment('pendulum', 'swingup')"
        "; sys.exit([module for module in sys.modules if module.startswith(('OpenGL', 'glfw'))] or 0)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_cosines_stay_and_other_numbers_are_squashed() -> None:
    np.testing.assert_allclose(squash(np.array([2.0, 0.5, -3.0]), (2.0, 0.0)), [np.tanh(1.0), 0.5, -1.0])


def test_a_first_state_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        SuiteEnvironment("pendulum", "swingup").reset()
