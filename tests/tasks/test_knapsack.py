from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tasks.knapsack.environment import KnapsackEnvironment
from tasks.knapsack.expert import choose_items
from tasks.knapsack.problem import KINDS, Instance, Problem, bound_value, fill_greedily
from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

BY_HAND = Instance(np.array([60, 100, 120]), np.array([10, 20, 30]), 50)


def test_the_textbook_instance_is_solved_where_greed_fails() -> None:
    # Taking by value a weight fills 30 of 50 for 160; the best choice leaves the item of the highest ratio.
    assert choose_items(BY_HAND).tolist() == [False, True, True]
    assert fill_greedily(BY_HAND.values, BY_HAND.weights, 50) == 160
    assert bound_value(BY_HAND.values, BY_HAND.weights, 50) == 240


@pytest.mark.parametrize("kind", KINDS)
def test_the_choice_is_the_best_of_all_and_below_the_bound(kind: str) -> None:
    for seed in range(8):
        instance = Problem(kind, 9, 0).draw(seed)
        choices = np.array(list(product((0, 1), repeat=9)))
        best = (choices @ instance.values)[choices @ instance.weights <= instance.capacity].max()

        chosen = choose_items(instance)

        assert instance.weights[chosen].sum() <= instance.capacity
        assert (
            instance.values[chosen].sum() == best <= bound_value(instance.values, instance.weights, instance.capacity)
        )


def test_of_equally_good_choices_the_one_with_early_items_is_taken() -> None:
    assert choose_items(Instance(np.full(5, 7), np.full(5, 3), 8)).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_an_experts_episode_is_worth_its_optimum_and_stays_in_range(kind: str) -> None:
    task = get_task(f"knapsack/{kind}-30")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [5], num_slots=1)

    found, summary = episode.provenance, episode.provenance["summary"]
    assert summary["value"] == found["optimum"]
    assert episode.total_return == pytest.approx(found["optimum"] / summary["bound"])
    for key, seen in episode.observations.items():
        assert np.abs(seen).max() <= 1.0, key
        assert np.ptp(seen) > 1.0, key


def test_every_step_is_a_decision_about_an_item_that_fits() -> None:
    environment = KnapsackEnvironment(Problem("uncorrelated", 20, 0))
    environment.reset(seed=1)
    left, taken, ended = environment.instance.capacity, 0.0, False

    while not ended:
        assert environment.instance.weights[environment.item] <= left
        left -= int(environment.instance.weights[environment.item])
        _, reward, ended, _, info = environment.step(1)
        taken += reward

    instance = environment.instance
    assert info["summary"]["value"] == fill_greedily(instance.values, instance.weights, instance.capacity)
    assert taken == pytest.approx(info["summary"]["value"] / info["summary"]["bound"])


def test_instances_differ_by_seed_and_task_and_repeat() -> None:
    one, other = (Problem("weakly-correlated", 20, number) for number in (0, 1))

    assert one.draw(3).weights.tolist() == one.draw(3).weights.tolist()
    assert one.draw(3).weights.tolist() != one.draw(4).weights.tolist()
    assert one.draw(3).weights.tolist() != other.draw(3).weights.tolist()


def test_the_expert_is_proven_against_greed() -> None:
    task = get_task("knapsack/strongly-correlated-20")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
    assert len(tasks_of("knapsack")) == 32


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="20 items of kind 'hard'; expected at least 1 of one of uncorrelated"):
        Problem("hard", 20, 0)
