from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from tasks.contest import Rules, TaskReturns
from tasks.looks import Further, hold
from tasks.pocock import confidence_of_a_look

FIRST, EXPERT = 4, 10.0


class Game:
    """Two players with fixed returns a task, of which each look shows as many again as are seen."""

    def __init__(self, returns: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
        self.returns = returns
        self.asked: list[tuple[int, list[str]]] = []

    def first(self, player: int) -> list[TaskReturns]:
        seeds = range(FIRST)
        both = self.returns.items()
        return [TaskReturns(task, list(one[player][:FIRST]), seeds, floor=0, expert=EXPERT) for task, one in both]

    def play_on(self, tasks: Sequence[str], look: int) -> tuple[Further, Further]:
        self.asked.append((look, list(tasks)))
        seeds = range(FIRST * 2 ** (look - 1), FIRST * 2**look)
        ours, theirs = (
            {task: {seed: self.returns[task][who][seed] for seed in seeds} for task in tasks} for who in (0, 1)
        )
        return ours, theirs

    def hold(self, *, more_looks: int = 3):
        rules = Rules(draws=500, more_looks=more_looks)
        return hold(self.first(0), self.first(1), rules, self.play_on)


def differing_by(differences: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the returns of two players, the champion's always 5."""
    return [5 + one for one in differences], [5.0] * len(differences)


STEADY = differing_by([0.0] * 32)
UNSURE = differing_by([2.0, -2.0] * 2 + [0.0] * 28)  # known only after more than four episodes
BAD = differing_by([-3.0] * 32)


def test_who_is_clearly_good_or_clearly_bad_plays_no_more() -> None:
    good, bad = Game({"a/x": STEADY}), Game({"a/x": STEADY, "b/x": BAD})

    assert good.hold().is_won
    assert bad.hold().reason.startswith("all -0.150")
    assert good.asked == bad.asked == []


def test_only_what_is_not_shown_plays_on_and_what_is_shown_stays_so() -> None:
    game = Game({**{f"a/{number}": STEADY for number in range(30)}, "b/x": UNSURE})

    contest = game.hold()

    assert contest.is_won
    assert {task for _, tasks in game.asked for task in tasks} == {"b/x"}
    assert [one.name for one in contest.looks[0]] == ["all", "a", "b"]
    assert {one.name for look in contest.looks[1:] for one in look} == {"b"}
    assert {one.name: one.num_pairs for one in contest.tests} == {"all": 4, "a": 4, "b": contest.most_episodes}
    assert f"({len(contest.looks)} looks, at up to {contest.most_episodes} episodes a task)" in contest.reason


def test_all_tasks_play_on_while_the_whole_is_not_shown() -> None:
    game = Game({"a/x": STEADY, "b/x": UNSURE})

    game.hold(more_looks=1)

    assert game.asked == [(1, ["a/x", "b/x"])]


def test_the_looks_end_where_the_rules_say_and_where_nothing_more_can_be_played() -> None:
    doubtful = Game({"a/x": differing_by([2.0, -2.0] * 16)})

    assert not doubtful.hold().is_won
    assert [look for look, _ in doubtful.asked] == [1, 2, 3]
    assert len(doubtful.hold(more_looks=0).looks) == 1
    rules = Rules(draws=500)
    nothing_more = hold(doubtful.first(0), doubtful.first(1), rules, lambda *_: ({}, {}))
    assert len(nothing_more.looks) == 1


def test_the_contest_is_given_up_when_the_last_look_could_not_save_it() -> None:
    game = Game({"a/x": differing_by([-4.0, 1.0] * 16)})

    assert not game.hold().is_won
    assert len(game.asked) < 3


@pytest.mark.parametrize(("looks", "bound"), [(1, 1.6449), (2, 1.8754)])
def test_bounds_are_those_of_pococks_table(looks: int, bound: float) -> None:
    """Two looks at equal steps, 5 % on one side; Jennison and Turnbull, "Group sequential methods", 1999, table 2.1."""
    assert confidence_of_a_look(0.9, looks) == pytest.approx(math.erf(bound / math.sqrt(2)), abs=1e-4)


@pytest.mark.parametrize("looks", [3, 5])
def test_means_of_doubling_data_exceed_the_bound_in_one_case_of_twenty(looks: int) -> None:
    generator, sizes = np.random.default_rng(0), 2 ** np.arange(looks)
    sums = generator.normal(0, np.sqrt(np.diff(sizes, prepend=0)), (200_000, looks)).cumsum(axis=1)
    confidence = confidence_of_a_look(0.9, looks)

    likelihoods = np.vectorize(math.erf)((sums / np.sqrt(sizes)).max(axis=1)[:20_000] / math.sqrt(2))

    assert (likelihoods > confidence).mean() == pytest.approx(0.05, abs=0.005)
