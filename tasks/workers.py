from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from tasks.processes import die_with_parent

Job = TypeVar("Job")
Result = TypeVar("Result")

BLOCK = 16
"""At most so many neighbouring jobs go to one process, since they may share what it keeps, such as a solved tour."""

AHEAD = 2 * BLOCK
"""Jobs a process that may be done before their turn, so that a slow one does not fill the memory."""

NO_TIMEOUT_S, NO_LIMIT_BYTES = 1e9, 1 << 62
"""Limits that nothing reaches."""

_OUT_OF_MEMORY = 71
"""Exit code of a process that an allocation failed in."""


@dataclass(frozen=True)
class Failure:
    """Why a job gave no result.

    Args:
        reason: What happened.
        is_killed: Whether its process ended by a signal that nobody here sent.
    """

    reason: str
    is_killed: bool = False


class Workers(Generic[Job, Result]):
    """Processes that do jobs within limits; a job that hangs, crashes or eats memory costs only its own process.

    Every process is a fresh interpreter with silent output and one thread a library.

    Args:
        function: Does a job; it and the jobs and results must be picklable.
        num_processes: Processes at once, at least 1.
        timeout_s: Wall-clock seconds after which a job's process is killed.
        memory_bytes: Memory that a process may take, beyond which an allocation in it fails.
        block: At most so many neighbouring jobs go to one process; 1 for large ones.
    """

    def __init__(
        self,
        function: Callable[[Job], Result],
        *,
        num_processes: int,
        timeout_s: float = NO_TIMEOUT_S,
        memory_bytes: int = NO_LIMIT_BYTES,
        block: int = BLOCK,
    ) -> None:
        if num_processes < 1 or timeout_s <= 0 or memory_bytes <= 0:
            raise ValueError(
                f"found {num_processes} processes, {timeout_s} s and {memory_bytes} bytes; expected at least 1, above "
                "0 and above 0"
            )
        self._function = function
        self._limits = timeout_s, memory_bytes
        self._block = block
        self.num_processes = num_processes
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers[Job, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def describe(self) -> str:
        """Return who did the jobs; empty when nobody had to."""
        return f"{len(self._workers)} processes of this machine" if self._workers else ""

    def map(self, jobs: Sequence[Job]) -> Iterator[Result | Failure]:
        """Do all jobs and yield what came of each, in the order of the jobs."""
        while len(self._workers) < min(self.num_processes, len(jobs)):
            self._workers.append(_Worker(self._function, *self._limits))
        idle = [(worker, deque[int]()) for worker in self._workers]
        busy: dict[Any, tuple[_Worker, deque[int], int]] = {}
        done: dict[int, Any] = {}
        begun = yielded = 0
        size = max(1, min(self._block, len(jobs) // self.num_processes))
        try:
            while yielded < len(jobs):
                waiting = []
                for worker, block in idle:
                    if not block and begun < len(jobs) and begun - yielded < AHEAD * self.num_processes:
                        block.extend(range(begun, min(begun + size, len(jobs))))
                        begun += len(block)
                    if block:
                        worker.send(jobs[block[0]])
                        busy[worker.connection] = (worker, block, block.popleft())
                    else:
                        waiting.append((worker, block))
                idle = waiting
                for connection in wait(list(busy)):
                    worker, block, position = busy.pop(connection)
                    done[position] = worker.receive()
                    if worker.ended:
                        self._workers.remove(worker)
                        worker = _Worker(self._function, *self._limits)
                        self._workers.append(worker)
                    idle.append((worker, block))
                while yielded in done:
                    yield done.pop(yielded)
                    yielded += 1
        finally:
            for worker, _, _ in busy.values():  # of jobs that nobody waits for any more
                worker.end()
                self._workers.remove(worker)


class _Worker:
    def __init__(self, function: Callable[..., Any], timeout_s: float, memory_bytes: int) -> None:
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self.ended = False
        self.connection, theirs = Pipe()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "OMP_NUM_THREADS": "1",
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from tasks.workers import work; work({theirs.fileno()})"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self.send((function, timeout_s, memory_bytes))

    def send(self, message: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then ``receive`` says why it ended
            self.connection.send(message)

    def receive(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            code = self.end()
        if code == -signal.SIGALRM:
            return Failure(f"took longer than {self._timeout_s:g} s")
        if code == _OUT_OF_MEMORY:
            return Failure(f"took more memory than {self._memory_bytes / 2**30:.3g} GiB")
        return Failure(f"its process ended with exit code {code}", is_killed=code < 0)

    def end(self) -> int:
        self.ended = True
        self.connection.close()
        try:
            return self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def work(handle: int) -> None:
    """Do jobs from the connection of this handle until it closes; SIGALRM ends a job that outlasts the limit."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; it then closes the connection
    connection = Connection(handle)
    try:
        function, timeout_s, memory_bytes = connection.recv()
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        while True:
            job = connection.recv()
            signal.setitimer(signal.ITIMER_REAL, timeout_s)
            try:
                result = function(job)
            except MemoryError:
                os._exit(_OUT_OF_MEMORY)  # What fills the memory may be kept; the next job gets a fresh process.
            except Exception:
                result = Failure(traceback.format_exc())
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send(result)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has gone or needs no more
