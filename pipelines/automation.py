from __future__ import annotations

from collections.abc import Callable, Iterable

import dagster as dg

from assets.contest import reasons_to_train
from assets.lineage import changed_tasks
from assets.resources import Experiment, Stores
from pipelines.experiments import get_experiment
from storage.manifest import ManifestError, recipe_key

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def define_retrain_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Define the weekly retraining."""
    return dg.ScheduleDefinition(
        name="retrain",
        job=job,
        cron_schedule="0 3 * * 0",
        description="Every Sunday at 3:00: makes what is missing or out of date, and trains anew if the data changed.",
    )


def define_new_data_sensor(jobs: list[dg.JobDefinition]) -> dg.SensorDefinition:
    """Define the sensor that retrains once the expert episodes of a trained experiment are other ones."""

    @dg.sensor(
        name="new_data",
        jobs=jobs,
        minimum_interval_seconds=300,
        description="Starts an experiment's job when the expert episodes of its tasks are not those it was trained on.",
    )
    def new_data(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        return _request_runs(
            context,
            jobs,
            lambda experiment: changed_tasks(stores, experiment),
            tags=lambda changed: {"db1/changed_tasks": ", ".join(list(changed)[:10])},
            nothing="0 tasks changed",
        )

    return new_data


def define_behind_champion_sensor(jobs: list[dg.JobDefinition]) -> dg.SensorDefinition:
    """Define the sensor that makes an experiment whose newest scores, or whose champion's tasks, fall short."""

    @dg.sensor(
        name="behind_champion",
        jobs=jobs,
        minimum_interval_seconds=600,
        description="Starts an experiment's job when it has tasks that its champion has not, or when fewer of its "
        "tasks reach half of the expert's score than did with the champion. The job makes what is missing or out of "
        "date; the checkpoint that comes of it challenges the champion. Each finding starts one run.",
    )
    def behind_champion(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        shown = "new_tasks", "share_at_half"
        return _request_runs(
            context,
            jobs,
            lambda experiment: reasons_to_train(stores, experiment),
            tags=lambda found: {f"db1/{name}": found[name][:200] for name in shown if name in found},
            nothing="not behind",
        )

    return behind_champion


def _request_runs(
    context: dg.SensorEvaluationContext,
    jobs: Iterable[dg.JobDefinition],
    find: Callable[[Experiment], dict[str, str]],
    *,
    tags: Callable[[dict[str, str]], dict[str, str]],
    nothing: str,
) -> dg.SensorResult:
    """Ask for one run of each job for each thing that is found about its experiment; say why where none is.

    While a run of the job goes on, what it has made so far is not judged.
    """
    requests, reasons = [], []
    for job in jobs:
        if going := context.instance.get_run_ids(dg.RunsFilter(job_name=job.name, statuses=_UNFINISHED), limit=1):
            reasons.append(f"{job.name}: run {going[0]} goes on")
            continue
        try:
            found = find(get_experiment(job.name))
        except ManifestError as error:
            reasons.append(f"{job.name}: {error.fault}")
            continue
        if found:
            requests.append(dg.RunRequest(job_name=job.name, run_key=recipe_key(found), tags=tags(found)))
        else:
            reasons.append(f"{job.name}: {nothing}")
    return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "; ".join(reasons))
