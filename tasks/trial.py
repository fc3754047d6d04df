from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.policies import RandomPolicy
from tasks.registry import get_task
from tasks.rollout import EPISODE_MEMORY_BYTES, EPISODE_TIMEOUT_S
from tasks.task import open_environment, schema_of
from tasks.workers import Failure, Workers

NUM_STEPS = 10
"""Random steps that a task is tried for."""


@dataclass(frozen=True)
class Trial:
    """Whether a task runs here.

    Args:
        task: Its id.
        seconds: What it took to make its environment, begin an episode, take the steps and close; None if it failed.
        fault: Why it failed; empty when it did not.
    """

    task: str
    seconds: float | None
    fault: str = ""


def try_tasks(task_ids: Sequence[str], *, num_processes: int) -> Iterator[Trial]:
    """Try each task for a few random steps in processes with limits, and yield what came of it, in their order.

    Args:
        task_ids: The tasks.
        num_processes: Processes at once, at least 1.
    """
    limits = {"timeout_s": EPISODE_TIMEOUT_S, "memory_bytes": EPISODE_MEMORY_BYTES}
    with Workers(_try, num_processes=num_processes, **limits) as workers:
        for task_id, outcome in zip(task_ids, workers.map(task_ids), strict=True):
            if isinstance(outcome, Failure):
                yield Trial(task_id, None, _message_of(outcome))
            else:
                yield Trial(task_id, outcome)


def _message_of(failure: Failure) -> str:
    """Return the end of a traceback: the error, with the indented lines that say how it is mended."""
    lines = failure.reason.strip().splitlines()
    begin = max(number for number, line in enumerate(lines) if not line.startswith(" "))
    return "\n".join(lines[begin:])


def _try(task_id: str) -> float:
    begun, task, policy = time.perf_counter(), get_task(task_id), RandomPolicy()
    schema_of(task)
    environment = open_environment(task)
    seen, info = environment.reset(seed=0)
    policy.begin(0, environment, seed=0)
    for _ in range(NUM_STEPS):
        (action,) = policy.act([0], [seen], [info.get("action_mask")])
        seen, _, terminated, truncated, info = environment.step(action)
        if not environment.observation_space.contains(dict(seen)):
            raise ValueError(f"task {task_id!r} shows {seen}, which is not in {environment.observation_space}")
        if terminated or truncated:
            seen, info = environment.reset(seed=1)
            policy.begin(0, environment, seed=1)
    environment.close()
    return time.perf_counter() - begun
