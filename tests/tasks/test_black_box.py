from __future__ import annotations

import numpy as np
import pytest

from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

pytest.importorskip("cocoex", reason="needs the extra black_box")
pytest.importorskip("cma", reason="needs the extra black_box")

from tasks.black_box.environment import NUM_EVALUATIONS, SearchEnvironment
from tasks.black_box.expert import EvolutionExpert


def test_the_sphere_is_searched_to_its_known_optimum() -> None:
    # The sphere is |x - x*|^2 + f*: three values on each axis give x*, and there the gap is nothing.
    environment = SearchEnvironment(1, 2)
    environment.reset(seed=7)
    values = {}
    for point in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]:
        environment.step(np.array(point))
        values[point] = environment.value
    centre = values[0.0, 0.0]
    optimum = [(25.0 + centre - values[point]) / 50.0 for point in [(1.0, 0.0), (0.0, 1.0)]]

    _, reward, *_ = environment.step(np.array(optimum))

    assert environment.value == pytest.approx(centre - 25.0 * np.dot(optimum, optimum))
    assert reward > 6.0


def test_the_return_is_how_many_digits_the_gap_shrank_by() -> None:
    task = get_task("black_box/f08-d3")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [3], num_slots=1)

    environment = SearchEnvironment(8, 3)
    environment.reset(seed=3)
    assert len(episode) == NUM_EVALUATIONS
    assert episode.terminated
    assert episode.total_return == pytest.approx(np.log10(environment._gap() / episode.provenance["summary"]["gap"]))


@pytest.mark.parametrize("task_id", ["black_box/f21-d2", "black_box/f15-d40"])
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(task_id: str) -> None:
    task = get_task(task_id)

    first, again = (
        list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9])
    )

    np.testing.assert_array_equal(first.actions, again.actions)
    for key, seen in first.observations.items():
        np.testing.assert_array_equal(seen, again.observations[key])
        assert np.abs(seen).max() <= 1.0
        assert np.ptp(seen) > 0.2


def test_a_search_that_has_converged_starts_again_with_more_points() -> None:
    environment, expert = SearchEnvironment(5, 2), EvolutionExpert()
    observation, _ = environment.reset(seed=1)
    expert.reset(environment)

    for _ in range(2000):
        observation, *_ = environment.step(expert.act(observation))

    assert expert.provenance()["starts"] > 1


def test_training_and_evaluation_never_see_the_same_function() -> None:
    environment = SearchEnvironment(1, 2)
    found = set()
    for seed in (0, 99_999, 1_000_000, 1_099_999):
        environment.reset(seed=seed)
        found.add(environment.instance)

    assert len(found) == 4


def test_the_expert_is_proven() -> None:
    task = get_task("black_box/f10-d5")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
    assert len(tasks_of("black_box")) == 144


def test_an_instance_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        SearchEnvironment(1, 2).reset()
