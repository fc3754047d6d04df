from __future__ import annotations

import itertools

import numpy as np
import pytest

from db1_model.mixture import Mixture, draw_below, permute, share_tasks

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


def test_tasks_without_a_weight_share_what_is_left() -> None:
    assert share_tasks(["a", "b", "c"], {"b": 0.5}) == [0.25, 0.5, 0.25]
    assert share_tasks(["a", "b"], None) == [0.5, 0.5]
    assert share_tasks(["a", "b"], {"a": 3, "b": 1}) == [3, 1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"z": 1.0}, "a weight for task 'z', which the shards do not hold; they hold a, b"),
        ({"a": 1.0}, "nothing for 1 task"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        share_tasks(["a", "b"], weights)


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


def test_draws_are_uniform() -> None:
    counts = np.bincount([draw_below(10, 3, position) for position in range(10_000)], minlength=10)

    assert np.sum((counts - 1000) ** 2 / 1000) < 27.9  # chi squared with 9 degrees of freedom, 1 in 1,000
