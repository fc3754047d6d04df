from __future__ import annotations

import numpy as np
import pytest

from tasks.scores import bootstrap_interval, interquartile_mean, judge, normalise, summarise

REFERENCE = {"random": {"mean": -100.0}, "nearest-neighbour": {"mean": -12.5}, "expert": {"mean": -10.0}}


@pytest.mark.parametrize(
    "score, floor, expert, expected",
    [(20, 10, 30, 0.5), (30, 10, 30, 1.0), (0, 10, 30, -0.5), (-15, -20, -10, 0.5), (5, 5, 5, None), (9, 5, 4, None)],
)
def test_the_normalised_score_is_the_way_from_floor_to_expert(
    score: float, floor: float, expert: float, expected: float | None
) -> None:
    assert normalise(score, floor, expert) == expected


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        normalise(float("nan"), 0, 1)


def test_a_tour_is_judged_from_the_nearest_neighbour_up_and_by_its_gap() -> None:
    verdict = judge("tsp/tsp100-1", [-11.0, -12.0], REFERENCE, "nearest-neighbour")

    assert verdict.normalised == pytest.approx(0.4)
    assert verdict.gap == pytest.approx(0.15)
    assert not verdict.reaches(0.5)
    assert verdict.reaches(0.4 - 1e-9)


def test_a_missing_reference_score_names_the_command_that_makes_it() -> None:
    with pytest.raises(ValueError, match=r"'tsp/tsp100-1': no reference score of bound(.|\n)*dg launch .*tsp/tsp100-1"):
        judge("tsp/tsp100-1", [-11.0], REFERENCE, "bound")


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end() -> None:
    assert interquartile_mean([-100, 1, 2, 3, 4, 5, 6, 1000]) == 3.5
    assert interquartile_mean([7]) == 7


def test_the_bootstrap_interval_holds_the_statistic_and_repeats() -> None:
    scores = np.random.default_rng(1).normal(0.5, 0.1, 50)

    low, high = bootstrap_interval(scores, interquartile_mean, seed=3)

    assert low < interquartile_mean(scores) < high < low + 0.2
    assert (low, high) == bootstrap_interval(scores, interquartile_mean, seed=3)


def test_a_summary_counts_tasks_at_thresholds_and_lists_the_undefined() -> None:
    flat = {"random": {"mean": 0.0}, "expert": {"mean": 0.0}}
    linear = {"random": {"mean": 0.0}, "expert": {"mean": 1.0}}
    verdicts = [judge(f"a/{score}", [score], linear, "random") for score in (0.1, 0.5, 0.9)]

    summary = summarise([*verdicts, judge("a/flat", [1.0], flat, "random")], thresholds=(0.5, 1.0))

    assert summary.num_tasks == 3
    assert summary.undefined == ("a/flat",)
    assert summary.mean == pytest.approx(0.5)
    assert summary.reached == {0.5: 2, 1.0: 0}
