from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

_DISCOUNT = 0.99
_LOSS = 10.0
_CURIOSITY = 1e-6

Plan = tuple[int, ...]


class Outcome(NamedTuple):
    """What one step of a plan brings.

    Args:
        reward: The step's reward.
        is_lost: Whether a life or the game is lost.
        novelty: How much of the state was never seen before; decides between plans that are otherwise equal.
    """

    reward: float
    is_lost: bool
    novelty: float = 0.0


class Simulator(Protocol):
    """A game's present state, from which plans can be tried."""

    def play(self, plans: Sequence[Plan]) -> Sequence[Sequence[Outcome]]:
        """Play each plan from the present state.

        Returns:
            The outcomes of each plan's steps; none after the step in which a life is lost or the game ends.
        """
        ...


@dataclass(frozen=True)
class Budget:
    """How much is tried before a decision; counts, not times, so that equal states give equal decisions.

    Args:
        rounds: Calls of the simulator.
        width: Plans a call.
        horizon: Steps of a plan.
        commit: Steps of the best plan that are taken before the next decision.
        mean_run: Mean number of steps for which a random plan keeps an action.
    """

    rounds: int
    width: int
    horizon: int
    commit: int
    mean_run: float = 4.0


class Planner:
    """Searches the next steps of a deterministic game at random, around the best plan so far.

    The first plan of a decision is what is left of the last one. Of the others, half are random, and half keep the
    beginning of the best plan and are random from there on. The best plan has the highest discounted sum of rewards,
    in units of the largest reward seen in the episode, less ten where a life is lost.

    Args:
        actions: The legal actions.
        budget: How much is tried.
        generator: Draws the plans.

    Source:
        Gaina, Liu, Lucas and Perez-Liebana, "Analysis of vanilla rolling horizon evolution parameters in general video
        game playing", 2017. That runs of one action and states never seen before matter in Atari's games: Bandres,
        Bonet and Geffner, "Planning with pixels in (almost) real time", 2018; Lipovetzky, Ramirez and Geffner,
        "Classical planning with simulators: results on the Atari video games", 2015.
    """

    def __init__(self, actions: Sequence[int], budget: Budget, generator: np.random.Generator) -> None:
        self._actions = np.asarray(actions)
        self._budget, self._generator = budget, generator
        self._left: Plan = ()
        self._unit = 0.0

    def choose(self, simulator: Simulator) -> Plan:
        """Return the first ``commit`` actions of the best plan found."""
        best: Plan = ()
        outcomes: Sequence[Outcome] = ()
        for number in range(self._budget.rounds):
            plans = [self._extend(self._left)] if number == 0 else []
            while len(plans) < self._budget.width:
                plans.append(self._propose(best or plans[0]))
            tried: list[tuple[Plan, Sequence[Outcome]]] = [(best, outcomes)] if best else []
            tried.extend(zip(plans, simulator.play(plans), strict=True))
            self._unit = max(self._unit, *(abs(outcome.reward) for _, steps in tried for outcome in steps))
            best, outcomes = max(tried, key=lambda one: self._score(one[1]))
        self._left = best[self._budget.commit :]
        return best[: self._budget.commit]

    def _propose(self, best: Plan) -> Plan:
        if self._generator.random() < 0.5:
            return self._extend(())
        return self._extend(best[: int(self._generator.integers(len(best)))])

    def _extend(self, beginning: Plan) -> Plan:
        plan = list(beginning)
        while len(plan) < self._budget.horizon:
            run = int(self._generator.geometric(1.0 / self._budget.mean_run))
            plan += [int(self._generator.choice(self._actions))] * run
        return tuple(plan[: self._budget.horizon])

    def _score(self, outcomes: Sequence[Outcome]) -> float:
        score = 0.0
        for step, outcome in enumerate(outcomes):
            value = outcome.reward / (self._unit or 1.0) - _LOSS * outcome.is_lost
            score += _DISCOUNT**step * value + _CURIOSITY * outcome.novelty
        return score
