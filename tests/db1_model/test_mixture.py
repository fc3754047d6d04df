from __future__ import annotations

import itertools

import numpy as np
import pytest

from db1_model.mixture import Mixture, permute
from db1_model.weights import GATO_WEIGHTS, share_tasks

RNG = np.random.default_rng(0)
SHARES = {
    "870 tasks of very different shares": RNG.gamma(0.3, size=870) + 1e-4,
    "one large among 869 small": np.array([0.6, *[0.4 / 869] * 869]),
    "each share a third of the one before": np.array([3.0**-i for i in range(12)]),
    "870 equal": np.ones(870),
    "one task": np.ones(1),
}


@pytest.mark.parametrize("name", SHARES)
def test_every_tasks_count_stays_within_2_of_its_share(name: str) -> None:
    shares = SHARES[name] / SHARES[name].sum()
    mixture = Mixture(shares.tolist())
    counts = np.zeros(len(shares), np.int64)

    for position in range(6_000):
        task, visit = mixture.at(position)
        assert visit == counts[task]
        counts[task] += 1
        if position % 8 == 0:
            assert np.abs(counts - (position + 1) * shares).max() < 2


def test_a_far_position_is_reached_at_once_and_counts_as_if_walked_to() -> None:
    shares = [0.5, 0.3, 0.2]
    mixture = Mixture(shares)
    far = 10**12

    first = {}
    for position in range(far, far + 50):
        task, visit = mixture.at(position)
        first.setdefault(task, (position, visit))

    for task, (position, visit) in first.items():
        assert abs(visit - position * shares[task]) < 2


def test_870_tasks_with_gatos_weights_stay_within_2_of_their_shares_at_every_one_of_200_000_positions() -> None:
    sizes = dict.fromkeys(GATO_WEIGHTS, 16) | {"dm_lab": 254, "babyai": 46, "meta_world": 45, "control": 7, "tsp": 264}
    tasks = [f"{family}/{number}" for family, size in sizes.items() for number in range(size)][:870]
    shares = np.array(share_tasks(tasks, "gato"))
    mixture = Mixture(shares.tolist())
    positions = np.arange(200_000)

    task, visit = np.array([mixture.at(position) for position in range(len(positions))]).T

    # A count runs ahead of its share the most just after it grows, and behind the most just before.
    assert len(tasks) == 870
    assert np.abs(visit + 1 - (positions + 1) * shares[task]).max() < 2
    assert np.abs(visit - positions * shares[task]).max() < 2
    counts = np.bincount(task, minlength=870)
    assert np.abs(counts - len(positions) * shares).max() < 2
    assert mixture.counts(len(positions)) == counts.tolist()
    assert counts.min() > 0
    batches = task[: len(task) // 24 * 24].reshape(-1, 24)
    assert np.mean([len(set(batch)) for batch in batches[:200].tolist()]) > 20  # no batch is of a few tasks


@pytest.mark.parametrize("name", SHARES)
def test_counts_of_a_position_are_those_of_walking_there(name: str) -> None:
    mixture = Mixture(SHARES[name].tolist())
    walked = np.bincount([mixture.at(position)[0] for position in range(777)], minlength=mixture.num_tasks)

    assert mixture.counts(777) == walked.tolist()
    assert sum(mixture.counts(10**15)) == 10**15


@pytest.mark.parametrize("shares", [[], [1.0, 0.0], [1.0, -1.0], [float("nan")]])
def test_shares_that_are_not_positive_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="all positive"):
        Mixture(shares)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_permuting_reaches_every_place_once(size: int) -> None:
    assert sorted(permute(index, size, key=5) for index in range(size)) == list(range(size))


def test_permutations_of_different_keys_look_independent() -> None:
    size = 500
    orders = [np.array([permute(index, size, key) for index in range(size)]) for key in range(4)]

    for one, other in itertools.combinations([*orders, np.arange(size)], 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.2
        assert np.sum(one == other) < 10
