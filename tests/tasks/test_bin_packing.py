from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tasks.bin_packing.environment import PackingEnvironment
from tasks.bin_packing.expert import list_fillings, pack_optimally
from tasks.bin_packing.problem import CAPACITY, KINDS, Problem, bound_bins, find_sums, pack_best_fit, waste
from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out


def test_the_solver_fills_two_bins_where_best_fit_needs_three() -> None:
    sizes = np.array([500, 450, 300, 300, 250, 200])  # 500 + 300 + 200 and 450 + 300 + 250

    bins, is_proven = pack_optimally(sizes)

    assert is_proven
    assert sorted(int(sizes[items].sum()) for items in bins) == [1000, 1000]
    assert len(pack_best_fit(sizes)) == 3


@pytest.mark.parametrize("seed", range(12))
def test_the_packing_is_the_best_of_all_and_not_below_the_bound(seed: int) -> None:
    sizes = np.sort(np.random.default_rng(seed).integers(150, 700, size=7))[::-1]
    fewest = min(
        len(set(places))
        for places in product(range(7), repeat=6)
        if np.bincount([0, *places], weights=sizes).max() <= CAPACITY
        for places in [(0, *places)]
    )

    bins, is_proven = pack_optimally(sizes)

    assert is_proven
    assert sorted(item for items in bins for item in items) == list(range(7))
    assert all(sizes[items].sum() <= CAPACITY for items in bins)
    assert bound_bins(sizes) <= fewest == len(bins)


def test_the_bound_sees_that_large_items_do_not_share() -> None:
    assert bound_bins(np.array([600, 600, 600, 100])) == 3
    assert bound_bins(np.array([700, 600, 400, 400])) == 3  # two of the items above 300 never share with the 700


def test_the_fillings_are_all_choices_within_the_slack() -> None:
    sizes = np.array([600, 500, 400, 390, 100, 10])

    assert sorted(list_fillings(sizes, 0, 100) or []) == [(0, 2), (0, 3, 5), (1, 2, 4), (1, 3, 4, 5)]
    assert (0, 3) in (list_fillings(sizes, 10, 100) or [])
    assert list_fillings(sizes, 1000, 20) is None


def test_waste_is_what_no_choice_of_sizes_fills() -> None:
    sums = find_sums([300, 450])

    assert [waste(room, sums) for room in (299, 300, 460, 1000)] == [299, 0, 10, 250]


@pytest.mark.parametrize("kind", KINDS)
def test_an_experts_episode_opens_the_bins_of_its_packing_and_stays_in_range(kind: str) -> None:
    task = get_task(f"bin_packing/{kind}-6")

    first, again = (next(roll_out(task, ExpertPolicy(task.make_expert), [5], num_slots=1)) for _ in range(2))

    found, summary = first.provenance, first.provenance["summary"]
    assert summary["bins"] == found["bins"] == np.sum(first.actions == 0)
    assert first.total_return == pytest.approx(-found["bins"] / found["lower_bound"])
    np.testing.assert_array_equal(first.actions, again.actions)
    for seen in first.observations.values():
        assert np.abs(seen).max() <= 1.0
        assert np.ptp(seen) > 0.5


def test_the_expert_is_proven_against_best_fit() -> None:
    task = get_task("bin_packing/triplets-6")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
    assert len(tasks_of("bin_packing")) == 32


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="6 bins of kind 'odd'; expected at least 1 of one of triplets"):
        Problem("odd", 6, 0)
    environment = PackingEnvironment(Problem("wide", 6, 0))
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="choice 1 of 0 rooms"):
        environment.step(1)
