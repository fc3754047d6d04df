from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from assets.catalogue import catalogue
from assets.champion import champion, champion_is_rightful
from assets.checkpoint import checkpoint
from assets.checks import (
    define_expert_check,
    define_round_trip_check,
    define_scores_check,
    shards_are_sound,
    tours_are_valid,
)
from assets.evaluation import define_evaluation
from assets.partitions import specialists_of
from assets.report import report
from assets.resources import Progress, Stores
from assets.shards import shards
from assets.specialists import define_specialists
from assets.tokens import define_tokens, tokenizer
from assets.trajectories import define_trajectories
from pipelines.automation import define_behind_champion_sensor, define_new_data_sensor, define_retrain_schedule
from pipelines.experiments import get_experiment
from pipelines.inbox import import_inbox, inbox
from pipelines.jobs import define_job
from pipelines.launcher_choice import ChosenLauncher
from tasks.registry import families


def define(progress: Progress | dg.ResourceDefinition, more_jobs: Sequence[dg.JobDefinition] = ()) -> dg.Definitions:
    """Define all assets, checks, jobs, schedules, sensors and resources.

    Args:
        progress: What the stages tell of how far they are.
        more_jobs: Jobs of experiments besides the usual ones; the sensors watch over these, too.
    """
    demo = define_job("demo", "The whole loop on a handful of tasks of every family: minutes on two cores.")
    language = define_job("demo_language", "The demo's tasks, text, pictures and talks in one model: half an hour.")
    full = define_job("full", "The whole loop on all tasks, at DB1's size.")
    jobs = [demo, language, full, *more_jobs]
    by_family = (define_trajectories, define_tokens, define_evaluation)
    checks = (define_expert_check, define_round_trip_check, define_scores_check)
    return dg.Definitions(
        assets=[
            *(define_specialists(family) for family in families() if specialists_of(family).get_partition_keys()),
            *(each(family) for each in by_family for family in families()),
            catalogue,
            tokenizer,
            shards,
            checkpoint,
            champion,
            report,
        ],
        asset_checks=[
            *(each(family) for each in checks for family in families()),
            tours_are_valid,
            shards_are_sound,
            champion_is_rightful,
        ],
        jobs=[*jobs, import_inbox],
        schedules=[define_retrain_schedule(full)],
        sensors=[define_new_data_sensor(jobs), define_behind_champion_sensor(jobs), inbox],
        resources={
            "stores": Stores.from_environment(),
            "experiment": get_experiment("demo"),
            "progress": progress,
            "launcher": ChosenLauncher.from_environment(),
        },
        executor=dg.in_process_executor,  # a process a step costs seconds, and a run has few steps
        loggers={"console": dg.colored_console_logger},
    )


defs = define(Progress())
