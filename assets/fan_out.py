from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.materialization import Made, find_or_make, report_tasks
from assets.resources import Experiment, Progress, Stores
from storage.manifest import Manifest
from tasks.engine import start_workers, uses_ray
from tasks.workers import Failure

Plan = Callable[[Stores, Experiment, Progress, str], tuple[Callable[[], Manifest | None], Callable[[], Manifest]]]
"""Returns how a task's thing is found, and how it is made: a function of a module, so that other processes know it."""


def make_tasks(
    context: dg.AssetExecutionContext,
    plan: Plan,
    describe: Callable[[Manifest], Mapping[str, Any]],
    stores: Stores,
    experiment: Experiment,
    progress: Progress,
    *,
    num_processes: int | None = None,
) -> Iterator[dg.MaterializeResult]:
    """Make every task of the run that is not found, several at once, and report each as ``report_tasks`` does.

    Each is made by one thread of a process of its own, here or on the nodes of a Ray cluster; a single task, or with a
    single process, in this one.

    Args:
        context: The asset's context.
        plan: How a task's thing is found and made.
        describe: What is told of it.
        stores: Where things lie; all nodes see them.
        experiment: What is made.
        progress: Is told how many tasks are made.
        num_processes: Processes at once on this machine; the experiment's number without it.
    """
    made: dict[str, Made] = {}
    for task_id in context.partition_keys:
        with suppress(Exception):  # raised again where the task is made, and then reported
            find, _ = plan(stores, experiment, progress, task_id)
            if manifest := find():
                made[task_id] = Made(manifest, found=True, seconds=0.0)
    missing = [task_id for task_id in context.partition_keys if task_id not in made]
    processes = min(num_processes or experiment.processes, len(missing))
    if not missing or (processes == 1 and not uses_ray()):
        here = lambda task_id: made.get(task_id) or find_or_make(*plan(stores, experiment, progress, task_id))  # noqa: E731
        yield from report_tasks(context, here, describe)
        return
    with start_workers(_Maker(plan, stores.root, experiment.model_dump()), num_processes=processes, block=1) as workers:
        name = context.asset_key.to_user_string()
        outcomes = progress.track(name, workers.map(missing), total=len(missing), unit="tasks")
        yield from report_tasks(context, lambda task_id: made.get(task_id) or _take(next(outcomes)), describe)
        progress.say(f"{name}: {workers.describe()}")


@dataclass(frozen=True)
class _Raised:
    error: Exception
    trace: str


@dataclass(frozen=True)
class _Maker:
    """Makes a task's thing in a process of another machine, or of this one."""

    plan: Plan
    root: str
    experiment: Mapping[str, Any]

    def __call__(self, task_id: str) -> Made | _Raised:
        try:
            stores, experiment = Stores(root=self.root), Experiment(**self.experiment)
            return find_or_make(*self.plan(stores, experiment, _Quiet(), task_id))
        except Exception as error:
            return _Raised(_portable(error), traceback.format_exc())


class _Quiet(Progress):
    def say(self, line: str) -> None:
        """Tell nothing: the process that waits for the task tells of it."""


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _take(outcome: Made | _Raised | Failure) -> Made:
    match outcome:
        case Made():
            return outcome
        case _Raised():
            raise outcome.error from RuntimeError(outcome.trace)
    raise RuntimeError(outcome.reason)
