from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.tags import GRPC_INFO_TAG
from sqlalchemy.exc import DBAPIError

from assets.partitions import PARTITIONED_STAGES, find_ranges, group_by_family, partitions_of, specialists_of
from assets.resources import Experiment, Stores
from assets.selection import trained_tasks
from tasks.processes import read_status

STAGES = (
    "specialists",
    "trajectories",
    "catalogue",
    "tokenizer",
    "tokens",
    "shards",
    "checkpoint",
    "evaluation",
    "champion",
    "report",
)
"""All stages, in the order of the data."""

POOLS = ("specialists", "experts", "training")
"""What holds one asset at a time of those that name it."""

_BEFORE_THE_PROOF = ("specialists", "trajectories")
_PROCESS_TAG = ".dagster/db1_process"  # the UI hides tags that begin like this
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class StageFailedError(RuntimeError):
    """Several runs of a stage failed; the others are made."""


@dataclass(frozen=True)
class StageRun:
    """One Dagster run: one stage, of a range of one family's tasks where the stage has tasks.

    A run takes assets of one set of partitions and one range of them, so the families, and tasks that do not lie side
    by side, have runs of their own.
    """

    stage: str
    family: str = ""
    first_task: str = ""
    last_task: str = ""

    @property
    def asset_key(self) -> dg.AssetKey:
        """Key of the asset that the run makes."""
        return dg.AssetKey([self.stage, self.family] if self.family else [self.stage])

    @property
    def task_ids(self) -> Sequence[str]:
        """Tasks of the range; none where the stage has no tasks."""
        keys = partitions_of(self.family).get_partition_keys() if self.family else []
        return keys[keys.index(self.first_task) : keys.index(self.last_task) + 1] if keys else []

    @property
    def tags(self) -> dict[str, str]:
        """Tags that tell Dagster the range of tasks."""
        return dict(zip(_RANGE_TAGS, (self.first_task, self.last_task), strict=True)) if self.family else {}


def plan_runs(stages: Sequence[str], task_ids: Sequence[str]) -> list[StageRun]:
    """Return the runs that make these stages of these tasks, in the order of the data."""
    runs: list[StageRun] = []
    for stage in (stage for stage in STAGES if stage in stages):
        if stage not in PARTITIONED_STAGES:
            runs.append(StageRun(stage))
            continue
        partitions = specialists_of if stage == "specialists" else partitions_of
        for family, tasks in group_by_family(task_ids).items():
            keys = partitions(family).get_partition_keys()
            runs += [StageRun(stage, family, first, last) for first, last in find_ranges(keys, tasks)]
    return runs


def make_stages(
    runs: Sequence[StageRun],
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    experiment: Experiment,
    *,
    tell: Callable[[StageRun, dg.ExecuteInProcessResult | None], None],
    warn: Callable[[str], None] = warnings.warn,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Do the runs one after another in this process; what is made already is found and left as it is.

    A run that fails does not keep the other runs of its stage from being done, but the stages after it. An experiment
    that takes proven tasks alone goes on with those, whatever became of the others.

    Args:
        runs: What ``plan_runs`` returned.
        job: The job of all assets.
        instance: Where the runs are recorded.
        experiment: What is made.
        tell: Called before each run, without a result, and after it.
        warn: Called with the errors of runs that do not end the experiment.
        tags: Tags of every run.

    Raises:
        Exception: What an asset raised, or Dagster's error for a blocking check that failed.
        StageFailedError: If several runs of a stage failed; the message has the reason of each.
    """
    close_orphans(instance)
    ready_pools(instance)
    config = {
        "resources": {"experiment": {"config": experiment.model_dump()}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    for stage, of_stage in itertools.groupby(runs, key=lambda run: run.stage):
        errors: dict[StageRun, Exception] = {}
        for run in _keep_proven(list(of_stage), experiment):
            tell(run, None)
            try:
                result = job.execute_in_process(
                    run_config=config,
                    instance=instance,
                    asset_selection=[run.asset_key],
                    tags={**(tags or {}), "db1/experiment": experiment.name, _PROCESS_TAG: name_process(), **run.tags},
                )
            except Exception as error:
                errors[run] = error
                continue
            if result.success:
                tell(run, result)
            else:
                errors[run] = _read_failure(result)
        if experiment.only_proven and stage in _BEFORE_THE_PROOF:
            for run, error in errors.items():
                warn(f"{run.asset_key.to_user_string()}: {error}")
        elif len(errors) == 1:
            raise next(iter(errors.values()))
        elif errors:
            reasons = (f"{run.asset_key.to_user_string()}: {error}" for run, error in errors.items())
            raise StageFailedError("\n".join([f"{len(errors)} runs failed, the others are made", *reasons]))


def _keep_proven(runs: list[StageRun], experiment: Experiment) -> list[StageRun]:
    """Return the runs without the tasks that an experiment of proven tasks leaves out."""
    stage = runs[0].stage
    if not experiment.only_proven or stage in _BEFORE_THE_PROOF or stage not in PARTITIONED_STAGES:
        return runs
    wanted = {task_id for run in runs for task_id in run.task_ids}
    proven = trained_tasks(Stores.from_environment(), experiment)
    return plan_runs([stage], [task_id for task_id in proven if task_id in wanted])


def _read_failure(result: dg.ExecuteInProcessResult) -> RuntimeError:
    """Return why a run failed outside of its steps, which Dagster records and does not raise."""
    reasons = [event.job_failure_data for event in result.all_events if event.is_failure and event.is_job_event]
    words = [reason.error.to_string() for reason in reasons if reason.error]
    return RuntimeError(f"run {result.run_id} failed: {' '.join(words) or 'Dagster does not say why'}")


def ready_pools(instance: dg.DagsterInstance) -> None:
    """Make the pools that are not there yet.

    Dagster makes a pool at its first use, and in Postgres fails when two runs do so at once.
    """
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        for pool in set(POOLS) - {limit.name for limit in storage.get_pool_limits()}:
            with contextlib.suppress(DBAPIError):  # another process has just made it
                storage.initialize_concurrency_limit_to_default(pool)


def close_orphans(instance: dg.DagsterInstance) -> int:
    """Mark the runs whose process was killed as failed, and free what they held; return their number."""
    dead = [run.run_id for run in _unfinished(instance) if _is_dead(run.tags.get(_PROCESS_TAG, ""))]
    orphans = [run for run in _unfinished(instance) if run.run_id in dead]  # those that did not end well just before
    close_runs(instance, orphans, "its process was killed; started again, it goes on with what was finished")
    return len(orphans)


def find_abandoned(instance: dg.DagsterInstance, host: str, port: int) -> list[dg.DagsterRun]:
    """Return the runs that ended with an earlier server of code, whose processes they were.

    Args:
        instance: The records.
        host: Under which the web server and the daemon know the server.
        port: The server's.
    """
    servers = [(run, _server_of(run)) for run in _unfinished(instance)]
    return [run for run, server in servers if (server.get("host"), server.get("port")) == (host, port)]


def find_cut_off(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the runs of an earlier ``db1 ui`` whose process is gone too, as after a power cut.

    Its server of code listens at a socket. None is found where there is no /proc to look into, and among records that
    are not a file of this machine: the process may be another machine's.
    """
    if not Path("/proc/self").exists() or not isinstance(instance.run_storage, SqliteRunStorage):
        return []
    begun = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    return [run for run in begun if "socket" in _server_of(run) and not _find_processes(instance, run)]


def end_processes(instance: dg.DagsterInstance, runs: Iterable[dg.DagsterRun]) -> None:
    """Kill those processes of runs that outlived their server of code.

    Nobody could cancel them any more, and a run that is started again would train beside them.
    """
    for pid in {pid for run in runs for pid in _find_processes(instance, run)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def close_runs(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun], reason: str) -> None:
    """Mark runs as failed, which Dagster may start again, and free what they held."""
    for run in runs:
        instance.report_run_failed(run, reason)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _unfinished(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    begun = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return instance.get_runs(dg.RunsFilter(statuses=begun))


def name_process(pid: int | None = None) -> str:
    """Name a process of this machine such that a later one with the same id has another name."""
    pid = pid or os.getpid()
    begun = read_status(pid)[19] if Path(f"/proc/{pid}").exists() else ""
    return f"{platform.node()}:{pid}:{begun}"


def _server_of(run: dg.DagsterRun) -> dict[str, str | int]:
    return json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))


def _find_processes(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[int]:
    """Return the processes of this machine that do a run, as Dagster recorded them."""
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    told = [(entry.get_dagster_event().engine_event_data.metadata.get("pid"), entry.timestamp) for entry in entries]
    return [pid for one, moment in told if one and _works_since(pid := int(str(one.value)), moment)]


def _works_since(pid: int, moment: float) -> bool:
    """Return whether a process does a run of Dagster's, and did at that time; a later one may have its id."""
    try:
        does_runs = b"multiprocessing.spawn" in Path(f"/proc/{pid}/cmdline").read_bytes()
        after_boot_s = int(read_status(pid)[19]) / os.sysconf("SC_CLK_TCK")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return does_runs and time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + after_boot_s <= moment


def _is_dead(process: str) -> bool:
    node, _, rest = process.rpartition(":")[0].rpartition(":")
    if not process or node != platform.node():
        return False
    return name_process(int(rest)) != process
