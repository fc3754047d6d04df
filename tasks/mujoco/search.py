"""Looks for the gains of a task's feedback (extra black_box): ``python -m tasks.mujoco.search mujoco/Swimmer``."""

from __future__ import annotations

import argparse

import cma
import gymnasium
import numpy as np
from numpy.typing import NDArray

from tasks.mujoco.feedback import apply_gains
from tasks.registry import get_task
from tasks.specialists.arena import flatten
from tasks.task import open_environment

_FIRST_STEP = 0.5
_NUM_SHORT, _NUM_LONG = 60, 25
_SHORT_STEPS = 300


def find_gains(environment: gymnasium.Env, *, seed: int, told: bool = False) -> NDArray[np.float64]:
    """Maximise the return of an environment over the gains of ``apply_gains`` by CMA-ES.

    All gains of a generation play the same training seed, the next generation another. Episodes are cut short in the
    first 60 generations and whole in the 25 that follow.

    Args:
        environment: Observations are vectors, and the action is continuous.
        seed: Seed of the search.
        told: Whether progress is printed.

    Returns:
        The mean of the last generation, rounded to three decimals, shape (actions, observed numbers + 1).

    Source:
        Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772. That linear feedback suffices for such
        robots is from Mania, Guy and Recht, "Simple random search provides a competitive approach to reinforcement
        learning", arXiv:1803.07055.
    """
    observation, _ = environment.reset(seed=0)
    shape = (*(environment.action_space.shape or ()), len(flatten(observation)) + 1)
    strategy = cma.CMAEvolutionStrategy(np.zeros(np.prod(shape)), _FIRST_STEP, {"seed": seed + 1, "verbose": -9})
    for generation in range(_NUM_SHORT + _NUM_LONG):
        points = strategy.ask()
        limit = _SHORT_STEPS if generation < _NUM_SHORT else None
        returns = [_play(environment, np.reshape(point, shape), generation, limit) for point in points]
        strategy.tell(points, [-value for value in returns])
        if told and generation % 10 == 9:
            print(f"generation {generation + 1}: {np.mean(returns):,.1f}, best {max(returns):,.1f}", flush=True)
    return np.asarray(strategy.result.xfavorite, dtype=np.float64).reshape(shape).round(3)


def _play(environment: gymnasium.Env, gains: NDArray[np.float64], seed: int, limit: int | None) -> float:
    observation, _ = environment.reset(seed=seed)
    total, steps, is_over = 0.0, 0, False
    while not is_over and steps != limit:
        observation, reward, terminated, truncated, _ = environment.step(apply_gains(gains, observation))
        total, steps, is_over = total + float(reward), steps + 1, terminated or truncated
    return total


def main() -> None:
    """Print the gains of one task as rows of a ``gains.csv``."""
    parser = argparse.ArgumentParser(description="Look for the gains of a task's feedback.")
    parser.add_argument("task", help="id of the task")
    parser.add_argument("--seed", type=int, default=0, help="seed of the search")
    arguments = parser.parse_args()
    task = get_task(arguments.task)
    gains = find_gains(open_environment(task), seed=arguments.seed, told=True)
    for row in gains:
        print(",".join([task.name, *(f"{gain:g}" for gain in row)]))


if __name__ == "__main__":
    main()
