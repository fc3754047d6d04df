from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.job_shop.problem import Problem

_NUM_FEATURES = 6

_Observation = dict[str, NDArray[np.float32]]


class ShopEnvironment(gymnasium.Env):
    """Choose the job whose next operation is put on its machine, until all are.

    An operation begins as soon as the one before it in its job and the one before it on its machine have ended, so the
    order of the choices is the order on every machine.

    Observation:
        ``jobs``, float32 of shape (6 x jobs,) in [-1, 1]: six numbers for each unfinished job, in the order in which
        their next operations could begin (then the most work first), and -1 after the last. Times are by the length of
        an average job. When the next operation could begin, from the earliest of all on; how long its machine would
        stand idle before it; its time; the job's work after it; the work that other jobs still have for its machine;
        and the lower bound on the end when the job is chosen, above that of the best choice, as ``tanh(4 x)``.
        ``shop``, shape (2,): the part of the operations that is done, and the lower bound above that at the start.

    Action:
        The place of a job in this order; ``info["action_mask"]`` allows those of unfinished jobs.

    Reward:
        Minus the rise of the lower bound on the end of all jobs, by the bound of the whole instance (the longest job,
        the busiest machine); the first reward has that bound itself in it. So the return is minus the last end by the
        bound, and -1 can't be beaten.

    End:
        All operations are scheduled.

    Expert:
        OR-Tools' CP-SAT, one worker and a limit of deterministic time.

    Licence:
        Apache-2.0 (this project).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        shapes = {"jobs": (_NUM_FEATURES * problem.num_jobs,), "shop": (2,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Discrete(problem.num_jobs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin with the instance of the seed.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the jobs are drawn from the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.instance = self.problem.draw(seed)
        self._done = np.zeros(self.problem.num_jobs, dtype=np.int64)
        self._job_ends = np.zeros(self.problem.num_jobs, dtype=np.int64)
        self._machine_ends = np.zeros(self.problem.num_machines, dtype=np.int64)
        machines = range(self.problem.num_machines)
        self._loads = np.array([self.instance.times[self.instance.machines == machine].sum() for machine in machines])
        self._work = self.instance.times.sum(axis=1)
        self._bound = 0
        self._scale = float(self.instance.times.sum() / self.problem.num_jobs)
        self._rank()
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Put the next operation of the job at this place on its machine.

        Raises:
            ValueError: If there are not so many unfinished jobs.
        """
        if not 0 <= int(action) < len(self.jobs):
            raise ValueError(f"place {action} of {len(self.jobs)} unfinished jobs; expected one that the mask allows")
        job = int(self.jobs[int(action)])
        machine, time = self.next_of(job)
        end = self.start_of(job) + time
        self._done[job] += 1
        self._job_ends[job] = self._machine_ends[machine] = end
        self._loads[machine] -= time
        self._work[job] -= time
        before, self._bound = self._bound, max(self._bound, self._bound_now(self._job_ends, self._machine_ends))
        self._rank()
        reward = -(self._bound - before) / self.instance.bound
        return self._observe(), float(reward), len(self.jobs) == 0, False, self._info()

    def next_of(self, job: int) -> tuple[int, int]:
        """Return machine and time of a job's next operation."""
        place = self._done[job]
        return int(self.instance.machines[job, place]), int(self.instance.times[job, place])

    def start_of(self, job: int) -> int:
        """Return when a job's next operation could begin."""
        return int(max(self._job_ends[job], self._machine_ends[self.next_of(job)[0]]))

    def _bound_now(self, job_ends: NDArray[np.int64], machine_ends: NDArray[np.int64]) -> int:
        return int(max((job_ends + self._work).max(), (machine_ends + self._loads).max()))

    def _rank(self) -> None:
        unfinished = np.flatnonzero(self._done < self.problem.num_machines).tolist()
        self.jobs = sorted(unfinished, key=lambda job: (self.start_of(job), -self._work[job], job))
        """The unfinished jobs, in the order of the places."""

    def _info(self) -> dict[str, Any]:
        if not len(self.jobs):
            return {"summary": {"end": int(self._job_ends.max()), "lower_bound": self.instance.bound}}
        return {"action_mask": np.arange(self.problem.num_jobs) < len(self.jobs)}

    def _observe(self) -> _Observation:
        jobs = np.full((self.problem.num_jobs, _NUM_FEATURES), -1.0)
        if self.jobs:
            jobs[: len(self.jobs)] = self._describe()
        done = self._done.sum() / self.instance.times.size
        risen = max(self._bound, self.instance.bound) / self.instance.bound - 1.0
        seen = {"jobs": jobs.reshape(-1), "shop": np.array([2.0 * done - 1.0, 4.0 * risen - 1.0])}
        return {key: np.clip(part, -1.0, 1.0).astype(np.float32) for key, part in seen.items()}

    def _describe(self) -> NDArray[np.float64]:
        starts = np.array([self.start_of(job) for job in self.jobs])
        machines, times = np.transpose([self.next_of(job) for job in self.jobs])
        ends, bounds = starts + times, []
        for job, machine, time, end in zip(self.jobs, machines, times, ends, strict=True):
            job_ends, machine_ends = self._job_ends.copy(), self._machine_ends.copy()
            job_ends[job], machine_ends[machine] = end - time, end - time
            bounds.append(max(self._bound, self._bound_now(job_ends, machine_ends)))
        above = (np.array(bounds) - min(bounds)) / self._scale
        shares = [starts - starts.min(), starts - self._machine_ends[machines], times]
        shares += [self._work[self.jobs] - times, self._loads[machines] - times]
        return np.column_stack(
            [*(2.0 * np.tanh(part / self._scale) - 1.0 for part in shares), 2 * np.tanh(4 * above) - 1]
        )
