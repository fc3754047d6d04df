from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.planning import Budget, Outcome, Plan, Planner

_BUDGET = Budget(rounds=20, width=2, horizon=8, commit=2)


class _Corridor:
    """Nine cells: 0 is deadly, 8 pays 5 at every step; action 0 goes left, 1 right."""

    def __init__(self, cell: int) -> None:
        self.cell = cell
        self.num_played = 0

    def play(self, plans: Sequence[Plan]) -> list[list[Outcome]]:
        self.num_played += len(plans)
        return [self._play(plan) for plan in plans]

    def _play(self, plan: Plan) -> list[Outcome]:
        cell, outcomes = self.cell, []
        for action in plan:
            cell = min(cell + 2 * action - 1, 8)
            outcomes.append(Outcome(5.0 * (cell == 8), cell == 0))
            if cell == 0:
                break
        return outcomes


def _walk(cell: int, steps: int, seed: int) -> tuple[list[int], _Corridor]:
    corridor, taken = _Corridor(cell), []
    planner = Planner([0, 1], _BUDGET, np.random.default_rng(seed))
    while len(taken) < steps:
        plan = planner.choose(corridor)
        taken += plan
        for action in plan:
            corridor.cell = min(corridor.cell + 2 * action - 1, 8)
    return taken, corridor


def test_the_reward_is_found_and_kept() -> None:
    taken, corridor = _walk(4, 8, seed=0)

    assert corridor.cell == 8
    assert taken[:4] == [1, 1, 1, 1]
    assert corridor.num_played == 4 * _BUDGET.rounds * _BUDGET.width


def test_a_life_is_not_lost_where_nothing_is_to_be_won() -> None:
    assert all(_walk(1, 2, seed=seed)[1].cell > 0 for seed in range(10))


def test_equal_seeds_give_equal_plans() -> None:
    assert _walk(3, 10, seed=5)[0] == _walk(3, 10, seed=5)[0]
