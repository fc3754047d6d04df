from __future__ import annotations

import sys

import numpy as np
import pytest

from tasks.registry import tasks_of
from tasks.task import open_environment

pytest.importorskip("dm_control", reason="needs the extra dm_control")

from tasks.dm_control.environment import SuiteEnvironment, suite
from tasks.dm_control.units import squash


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


def test_no_renderer_is_loaded() -> None:
    assert not [module for module in sys.modules if module.startswith(("OpenGL", "glfw"))]


def test_cosines_stay_and_other_numbers_are_squashed() -> None:
    np.testing.assert_allclose(squash(np.array([2.0, 0.5, -3.0]), (2.0, 0.0)), [np.tanh(1.0), 0.5, -1.0])


def test_a_first_state_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        SuiteEnvironment("pendulum", "swingup").reset()
