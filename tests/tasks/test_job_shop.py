from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tasks.job_shop.environment import ShopEnvironment
from tasks.job_shop.expert import RuleExpert, schedule_optimally
from tasks.job_shop.problem import KINDS, Instance, Problem
from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out


def test_two_jobs_that_cross_are_scheduled_side_by_side() -> None:
    # Job 0 needs 3 on machine 0 and 2 on machine 1; job 1 needs 2 on machine 1 and 4 on machine 0.
    instance = Instance(np.array([[0, 1], [1, 0]]), np.array([[3, 2], [2, 4]]))

    starts, is_proven = schedule_optimally(instance)

    assert is_proven
    assert int((starts + instance.times).max()) == instance.bound == 7
    assert starts[0].tolist() == [0, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_the_schedule_ends_as_soon_as_the_best_of_all_orders(kind: str) -> None:
    for seed in range(3):
        environment = ShopEnvironment(Problem(kind, 3, 2, 0))
        ends = []
        for order in set(permutations([0, 0, 1, 1, 2, 2])):
            environment.reset(seed=seed)
            for job in order:
                *_, info = environment.step(environment.jobs.index(job))
            ends.append(info["summary"]["end"])

        starts, is_proven = schedule_optimally(environment.instance)

        assert is_proven
        assert int((starts + environment.instance.times).max()) == min(ends) >= environment.instance.bound


@pytest.mark.parametrize("kind", KINDS)
def test_an_experts_episode_ends_with_its_schedule_and_stays_in_range(kind: str) -> None:
    task = get_task(f"job_shop/{kind}-6x4")

    first, again = (next(roll_out(task, ExpertPolicy(task.make_expert), [5], num_slots=1)) for _ in range(2))

    summary = first.provenance["summary"]
    assert summary["end"] <= first.provenance["solved_end"]
    assert first.total_return == pytest.approx(-summary["end"] / summary["lower_bound"])
    assert len(first) == 24
    np.testing.assert_array_equal(first.actions, again.actions)
    for seen in first.observations.values():
        assert np.abs(seen).max() <= 1.0
        assert np.ptp(seen) > 0.5


def test_the_expert_is_proven_against_the_dispatching_rule() -> None:
    task = get_task("job_shop/taillard-6x4")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
    assert len(tasks_of("job_shop")) == 32


def test_what_cannot_be_scheduled_is_refused() -> None:
    with pytest.raises(ValueError, match="6 jobs on 1 machines of kind 'flow'; expected at least 1 on 2"):
        Problem("flow", 6, 1, 0)
    with pytest.raises(ValueError, match="unknown rule 'first'"):
        RuleExpert("first")
    environment = ShopEnvironment(Problem("flow", 2, 2, 0))
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="place 2 of 2 unfinished jobs"):
        environment.step(2)
