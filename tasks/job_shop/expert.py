from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from tasks.job_shop.environment import ShopEnvironment
from tasks.job_shop.problem import Instance
from tasks.task import Action, Observation, unwrap

_DETERMINISTIC_TIME = 2.0


def schedule_optimally(instance: Instance) -> tuple[NDArray[np.int64], bool]:
    """Find when each operation begins such that all end soonest.

    Args:
        instance: The jobs.

    Returns:
        Beginnings, shape (jobs, operations), and whether no schedule ends sooner.

    Raises:
        RuntimeError: If the solver finds no schedule within its limit.
    """
    model, horizon = cp_model.CpModel(), int(instance.times.sum())
    starts = [[model.new_int_var(0, horizon, "") for _ in row] for row in instance.times]
    end = model.new_int_var(instance.bound, horizon, "")
    on_machine: list[list[cp_model.IntervalVar]] = [[] for _ in range(instance.times.shape[1])]
    for job, row in enumerate(starts):
        for place, start in enumerate(row):
            time = int(instance.times[job, place])
            on_machine[instance.machines[job, place]].append(model.new_fixed_size_interval_var(start, time, ""))
            model.add((row[place + 1] if place + 1 < len(row) else end) >= start + time)
    for intervals in on_machine:
        model.add_no_overlap(intervals)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = _DETERMINISTIC_TIME
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise RuntimeError(
            f"OR-Tools CP-SAT found no schedule ({solver.status_name(status)}); expected one in its limit"
        )
    return np.array([[solver.value(start) for start in row] for row in starts]), status == cp_model.OPTIMAL


class SolverExpert:
    """Schedules the operations in the order of a schedule that is made before the first step."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Schedule an episode's jobs.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, ShopEnvironment)
        instance = self._environment.instance
        starts, self._is_proven = schedule_optimally(instance)
        self._end = int((starts + instance.times).max())
        jobs = np.broadcast_to(np.arange(len(starts))[:, None], starts.shape)
        places = np.broadcast_to(np.arange(starts.shape[1])[None], starts.shape)
        order = np.lexsort((places.reshape(-1), jobs.reshape(-1), starts.reshape(-1)))
        self._order = iter(jobs.reshape(-1)[order].tolist())

    def act(self, observation: Observation) -> Action:
        """Return the place of the job that begins next."""
        return self._environment.jobs.index(next(self._order))

    def provenance(self) -> Mapping[str, Any]:
        """Return the solver, its version and whether the schedule is proven to be the best."""
        solver = f"OR-Tools CP-SAT, deterministic time {_DETERMINISTIC_TIME:g}"
        found = {"solved_end": self._end, "proven": self._is_proven}
        return {"solver": solver, "versions": {"ortools": version("ortools")}, **found}


class RuleExpert:
    """Of the jobs that could begin first, chooses by a dispatching rule.

    Args:
        rule: ``most_work_remaining`` or ``shortest_time``.

    Raises:
        ValueError: If there is no such rule.
    """

    def __init__(self, rule: str) -> None:
        if rule not in ("most_work_remaining", "shortest_time"):
            raise ValueError(f"unknown rule {rule!r}; expected most_work_remaining or shortest_time")
        self._rule = rule

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode."""
        self._environment = unwrap(environment, ShopEnvironment)

    def act(self, observation: Observation) -> Action:
        """Return the place of the job that the rule prefers."""
        if self._rule == "most_work_remaining":
            return 0
        shop = self._environment
        earliest = [shop.start_of(job) for job in shop.jobs]
        first = [place for place, start in enumerate(earliest) if start == earliest[0]]
        return min(first, key=lambda place: shop.next_of(shop.jobs[place])[1])

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"solver": self._rule.replace("_", " ")}
