from __future__ import annotations

import numpy as np
import pytest

from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

pytest.importorskip("metaworld", reason="needs the extra meta_world")

from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from tasks.meta_world.environment import NUM_STEPS, ManipulationEnvironment


def test_all_tasks_of_the_package_are_there() -> None:
    assert [f"{task.name}-v3" for task in tasks_of("meta_world")] == list(ALL_V3_ENVIRONMENTS)


def test_the_seed_places_the_goal_and_fixes_the_episode_whatever_was_played_before() -> None:
    task = get_task("meta_world/drawer-open")

    first, again = (
        list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9])
    )
    (other,) = roll_out(task, ExpertPolicy(task.make_expert), [4], num_slots=1)

    assert len(first) == NUM_STEPS
    assert first.provenance["summary"]["success"]
    np.testing.assert_array_equal(first.actions, again.actions)
    for key, seen in first.observations.items():
        np.testing.assert_array_equal(seen, again.observations[key])
        assert np.abs(seen).max() <= 1.0
    assert not np.array_equal(first.observations["places"][0], other.observations["places"][0])


def test_the_expert_is_proven() -> None:
    task = get_task("meta_world/reach")

    assert find_doubt(measure_reference_scores(task), task.floor) is None


def test_a_goal_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        ManipulationEnvironment("reach").reset()
