from __future__ import annotations

import dagster as dg

from assets.contest import reasons_to_train
from assets.lineage import changed_tasks
from assets.resources import Stores
from pipelines.experiments import get_experiment
from storage.manifest import ManifestError, recipe_key


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
    def new_data(stores: Stores) -> dg.SensorResult:
        requests, reasons = [], []
        for job in jobs:
            try:
                changed = changed_tasks(stores, get_experiment(job.name))
            except ManifestError as error:
                reasons.append(f"{job.name}: {error.fault}")
                continue
            reasons.append(f"{job.name}: {len(changed)} tasks changed")
            if changed:
                tags = {"db1/changed_tasks": ", ".join(list(changed)[:10])}
                requests.append(dg.RunRequest(job_name=job.name, run_key=recipe_key(changed), tags=tags))
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "; ".join(reasons))

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
    def behind_champion(stores: Stores) -> dg.SensorResult:
        requests, reasons = [], []
        for job in jobs:
            try:
                found = reasons_to_train(stores, get_experiment(job.name))
            except ManifestError as error:
                reasons.append(f"{job.name}: {error.fault}")
                continue
            reasons.append(f"{job.name}: not behind")
            if found:
                tags = {f"db1/{name}": found[name][:200] for name in ("new_tasks", "share_at_half") if name in found}
                requests.append(dg.RunRequest(job_name=job.name, run_key=recipe_key(found), tags=tags))
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "; ".join(reasons))

    return behind_champion
