from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import ray  # pyright: ignore[reportMissingImports]  # of an extra
from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

from tasks.engine import RAY_ADDRESS
from tasks.workers import AHEAD, Failure, Job, Result, Workers

_TRIES = 5
"""Times that a block is given to a node before the cluster counts as broken."""

_DYING_S = 3.0
"""Where a job's process was killed, the whole node may be about to end: what is told after this time is told by a node
that goes on."""


class RayWorkers(Workers[Job, Result]):
    """Workers on all nodes of a Ray cluster; results, their order and the limits are those of ``Workers``.

    Every CPU that a node lends does a block of jobs at a time, in a process of its own. A block that is lost with its
    node or process is done again elsewhere, and is no ``Failure`` of its jobs. Nodes may come and go meanwhile; the
    first one, and that of this process, must stay. This package must be installed on every node.
    """

    _connected = False

    def __init__(self, *arguments: Any, **limits: Any) -> None:
        super().__init__(*arguments, **limits)
        self.done_on: list[str] = []
        """Address of the node of each job that was done, in the order of the jobs."""
        self.num_lost = 0
        """Blocks that were lost, and done again."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connected:
            ray.shutdown()

    def describe(self) -> str:
        """Return on which nodes how many jobs were done: ``10.0.0.1: 40 jobs, 10.0.0.2: 38 jobs; 1 block lost``."""
        counts = ", ".join(f"{node}: {number} jobs" for node, number in sorted(Counter(self.done_on).items()))
        return f"{counts}; {self.num_lost} blocks lost and done again" if self.num_lost else counts

    def map(self, jobs: Sequence[Job]) -> Iterator[Result | Failure]:
        """See ``Workers``.

        Raises:
            ConnectionError: If the cluster cannot be reached.
            RuntimeError: If a block is lost again and again.
        """
        if not jobs:
            return
        self._connect()
        size = max(1, min(self._block, len(jobs) // self.num_processes))
        blocks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        waiting, tries = deque(range(len(blocks))), Counter[int]()
        flying: dict[Any, int] = {}
        done: dict[int, tuple[str, list[Result | Failure]]] = {}
        turn = 0
        described = pickle.dumps((self._function, *self._limits)), str(Path.cwd())
        try:
            while turn < len(blocks):
                num_cpus = _count_cpus()
                while waiting and len(flying) < num_cpus and (waiting[0] - turn) * size < AHEAD * num_cpus:
                    number = waiting.popleft()
                    flying[_do.remote(*described, blocks[number])] = number
                for reference in ray.wait(list(flying))[0]:
                    number = flying.pop(reference)
                    try:
                        done[number] = ray.get(reference)
                    except RayTaskError:
                        raise
                    except RayError as error:
                        self._lose(number, tries, error)
                        waiting.appendleft(number)
                while turn in done:
                    node, results = done.pop(turn)
                    self.done_on += [node] * len(results)
                    turn += 1
                    yield from results
        finally:
            for reference in flying:  # jobs that nobody waits for any more
                ray.cancel(reference, force=True)

    def _connect(self) -> None:
        if not ray.is_initialized():
            self._join()
        self.num_processes = _count_cpus()

    def _join(self) -> None:
        address, handler = os.environ[RAY_ADDRESS], signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConnectionError(
                f"{RAY_ADDRESS} is {address!r}, where no Ray cluster answers ({error}); start one, with this machine "
                f"among its nodes, or stay on this machine:\n  ray start --head\n  unset {RAY_ADDRESS}"
            ) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place of Dagster's
        self._connected = True

    def _lose(self, number: int, tries: Counter[int], error: RayError) -> None:
        self.num_lost += 1
        tries[number] += 1
        if tries[number] == _TRIES:
            raise RuntimeError(f"a block of jobs was lost {_TRIES} times, the last time so: {error}") from error


def _count_cpus() -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


@ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")
def _do(described: bytes, folder: str, jobs: Sequence[Any]) -> tuple[str, list[Any]]:
    if Path(folder).is_dir():  # relative paths mean what they mean where the jobs come from
        os.chdir(folder)
    results = list(_workers_of(described).map(jobs))
    if any(isinstance(result, Failure) and result.is_killed for result in results):
        time.sleep(_DYING_S)
    return ray.util.get_node_ip_address(), results


_kept: dict[bytes, Workers[Any, Any]] = {}


def _workers_of(described: bytes) -> Workers[Any, Any]:
    """Return the process that does these jobs, kept from block to block with what it has loaded."""
    if described not in _kept:
        for workers in _kept.values():
            workers.__exit__(None, None, None)
        _kept.clear()
        function, timeout_s, memory_bytes = pickle.loads(described)
        _kept[described] = Workers(function, num_processes=1, timeout_s=timeout_s, memory_bytes=memory_bytes)
    return _kept[described]
