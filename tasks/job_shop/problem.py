from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("taillard", "two-sets", "flow", "short")
"""Any order of machines (Taillard); the first half of the machines before the second (Storer); the same order for all
jobs; and any order with times of 1 to 10."""


@dataclass(frozen=True)
class Instance:
    """Jobs whose operations run one after another, each on its machine.

    Args:
        machines: Machine of each operation, shape (jobs, operations).
        times: Its duration, shape (jobs, operations).
    """

    machines: NDArray[np.int64]
    times: NDArray[np.int64]

    @property
    def bound(self) -> int:
        """No schedule is shorter than the longest job and the busiest machine."""
        loads = np.bincount(self.machines.reshape(-1), weights=self.times.reshape(-1))
        return int(max(self.times.sum(axis=1).max(), loads.max()))


@dataclass(frozen=True)
class Problem:
    """Where the instances of a task come from.

    Args:
        kind: One of ``KINDS``.
        num_jobs: Jobs of an instance.
        num_machines: Machines, and operations of a job.
        number: Tells tasks apart.

    Raises:
        ValueError: If there is no such kind, or not at least one job and two machines.

    Source:
        Taillard, "Benchmarks for basic scheduling problems", 1993 (times of 1 to 99); Storer, Wu and Vaccari, "New
        search spaces for sequencing problems with application to job shop scheduling", 1992 (two sets of machines).
    """

    kind: str
    num_jobs: int
    num_machines: int
    number: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.num_jobs < 1 or self.num_machines < 2:
            raise ValueError(
                f"{self.num_jobs} jobs on {self.num_machines} machines of kind {self.kind!r}; expected at least 1 on 2 "
                f"of one of {', '.join(KINDS)}"
            )

    def draw(self, seed: int) -> Instance:
        """Return the instance of a seed."""
        generator = np.random.default_rng([self.number, seed])
        shape = self.num_jobs, self.num_machines
        times = generator.integers(1, 10 if self.kind == "short" else 99, endpoint=True, size=shape)
        ordered = np.tile(np.arange(self.num_machines), (self.num_jobs, 1))
        if self.kind == "flow":
            return Instance(ordered, times)
        if self.kind == "two-sets":
            half = self.num_machines // 2
            parts = ordered[:, :half], ordered[:, half:]
            return Instance(np.hstack([generator.permuted(part, axis=1) for part in parts]), times)
        return Instance(generator.permuted(ordered, axis=1), times)
