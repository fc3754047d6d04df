"""How often is a challenger let in, and how many episodes do both play for it?

    OMP_NUM_THREADS=1 python -m benchmarks.contest                 # one look against four; minutes
    python -m benchmarks.contest --contests 1000 --more-looks 0 1 2 3 4

The demo's 17 tasks in three families. ``contest_scores.csv`` has what two of our checkpoints, of ``demo`` and of
``demo_language``, did in 80 episodes of each on equal seeds, as shares of the way from floor to expert. Contests are
simulated by drawing such pairs, in each of which a coin says who is the challenger, so that both are equally good and
as like each other as two checkpoints are; what the challenger is better or worse by is then added to its scores. The
rules are the product's own, with fewer resamples; each simulated contest follows from its number.

For each case the table tells how often the challenger is let in, and the episodes that each of both plays beyond its
evaluation, in evaluations of 20 a task.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.contest import Rules, TaskReturns
from tasks.looks import Further, hold

SCORES = Path(__file__).with_name("contest_scores.csv")
EPISODES = 20
_DRAWS = 1000

CASES: Mapping[str, Mapping[str, float]] = {
    "equal": {"": 0.0},
    "better by 0.01, half of the overall margin": {"": 0.01},
    "better by 0.02, the overall margin": {"": 0.02},
    "worse by 0.02": {"": -0.02},
    "worse by 0.04": {"": -0.04},
    "tsp worse by 0.05, its margin; the rest better by 0.05": {"": 0.05, "tsp": -0.05},
    "babyai worse by 0.05, its margin; the rest better by 0.05": {"": 0.05, "babyai": -0.05},
}
"""What is added to the challenger's scores, by family; ``""`` is every other one."""


class Match:
    """A simulated contest: pairs of scores of as many episodes as the last look sees.

    Args:
        scores: By task, scores of two checkpoints on equal seeds, shape (2, episodes).
        added: As in ``CASES``.
        num_episodes: Episodes of the last look.
        seed: What follows is a function of it.
    """

    def __init__(
        self, scores: Mapping[str, NDArray[np.float64]], added: Mapping[str, float], num_episodes: int, seed: int
    ) -> None:
        generator, self.played, self._pairs = np.random.default_rng(seed), 0, {}
        for task, both in scores.items():
            pairs = both[:, generator.integers(both.shape[1], size=num_episodes)]
            who = generator.integers(2, size=num_episodes)
            pairs = np.take_along_axis(pairs, np.stack([who, 1 - who]), axis=0)
            pairs[0] += added.get(task.split("/", 1)[0], added[""])
            self._pairs[task] = pairs

    def evaluation(self, player: int) -> list[TaskReturns]:
        """Return what a player, 0 for the challenger, did in the first look."""
        each = self._pairs.items()
        return [TaskReturns(task, pairs[player][:EPISODES].tolist(), range(EPISODES), 0, 1) for task, pairs in each]

    def play_on(self, tasks: Sequence[str], look: int) -> tuple[Further, Further]:
        """Return the next episodes, see ``tasks.looks.PlayOn``."""
        seeds = range(EPISODES * 2 ** (look - 1), EPISODES * 2**look)
        self.played += len(tasks) * len(seeds)
        ours, theirs = (
            {task: {seed: float(self._pairs[task][player][seed]) for seed in seeds} for task in tasks}
            for player in (0, 1)
        )
        return ours, theirs


def read_scores() -> dict[str, NDArray[np.float64]]:
    """Return the scores of both checkpoints by task, shape (2, episodes)."""
    rows = [line.split(",") for line in SCORES.read_text().splitlines()]
    return {
        first[0]: np.array([first[2:], second[2:]], float) for first, second in zip(rows[::2], rows[1::2], strict=True)
    }


def simulate(added: Mapping[str, float], rules: Rules, contests: int) -> tuple[float, float]:
    """Return how often the challenger is let in, and the evaluations that each player plays beyond its first."""
    scores, won, played = read_scores(), 0, 0
    for seed in range(contests):
        match = Match(scores, added, EPISODES * 2**rules.more_looks, seed)
        won += hold(match.evaluation(0), match.evaluation(1), rules, match.play_on).is_won
        played += match.played
    return won / contests, played / contests / len(scores) / EPISODES


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contests", type=int, default=200, help="simulated in each case")
    parser.add_argument("--more-looks", type=int, nargs="+", default=[0, 3], help="rules to compare")
    chosen = parser.parse_args()
    print(f"{chosen.contests} contests each; let in, further evaluations of each player")
    print(f"{'challenger':<58}" + "".join(f"{f'{1 + more} looks':>16}" for more in chosen.more_looks))
    for name, added in CASES.items():
        print(f"{name:<58}", end="", flush=True)
        for more in chosen.more_looks:
            share, played = simulate(added, Rules(draws=_DRAWS, more_looks=more), chosen.contests)
            print(f"{100 * share:>9.1f} %{played:>5.1f}", end="", flush=True)
        print()


if __name__ == "__main__":
    sys.exit(main())
