# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.materialization import OWNERS, Made, find_or_make, report_tasks, table
from assets.partitions import ALL_AT_ONCE, partitions_of
from assets.resources import Experiment, Progress, Stores
from storage.manifest import Manifest
from storage.trajectories import TrajectoryStore
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, record_expert
from tasks.task import EVALUATION_SEED, Task, schema_of

CODE_VERSION = "1"


def define_trajectories(family: str) -> dg.AssetsDefinition:
    """Define the asset that holds a family's expert episodes, a partition a task."""

    @dg.asset(
        key=["trajectories", family],
        description=f"Expert episodes of {family} in Zarr, and the scores of the expert, of chance and of baselines.",
        group_name="trajectories",
        kinds={"zarr", "gymnasium"},
        owners=OWNERS,
        code_version="-".join([CODE_VERSION, *sorted({task.code_version for task in tasks_of(family)})]),
        partitions_def=partitions_of(family),
        backfill_policy=ALL_AT_ONCE,
        pool="experts",
    )
    def trajectories(
        context: dg.AssetExecutionContext, stores: Stores, experiment: Experiment, progress: Progress
    ) -> Iterator[dg.MaterializeResult]:
        store = stores.trajectories

        def make(task_id: str) -> Made:
            task = get_task(task_id)
            recipe = trajectories_recipe(task, experiment)
            return find_or_make(
                lambda: store.find(task_id, recipe), lambda: _record(task, recipe, store, experiment, progress)
            )

        yield from report_tasks(context, make, _describe)

    return trajectories


def trajectories_recipe(task: Task, experiment: Experiment) -> dict[str, Any]:
    """Return what determines a task's expert episodes and reference scores."""
    return {
        "code_version": CODE_VERSION,
        "task": task.id,
        "task_code_version": task.code_version,
        "floor": task.floor,
        "num_episodes": experiment.num_episodes or task.num_episodes,
        "first_evaluation_seed": EVALUATION_SEED,
        "num_evaluation_episodes": experiment.num_evaluation_episodes,
    }


def _record(
    task: Task, recipe: Mapping[str, Any], store: TrajectoryStore, experiment: Experiment, progress: Progress
) -> Manifest:
    num_episodes, processes = recipe["num_episodes"], experiment.processes
    episodes, begun = record_expert(task, range(num_episodes), num_processes=processes), time.perf_counter()

    def metadata() -> dict[str, Any]:
        seconds = time.perf_counter() - begun
        scores = measure_reference_scores(task, recipe["num_evaluation_episodes"], num_processes=processes)
        return {
            "floor": task.floor,
            "reference_scores": scores,
            "expert_route": task.expert_route,
            "expert_seconds": seconds,
        }

    tracked = progress.track(task.id, episodes, total=num_episodes, unit="episodes")
    return store.write(task.id, schema_of(task), tracked, recipe=recipe, metadata=metadata)


def _describe(manifest: Manifest) -> dict[str, Any]:
    scores = manifest.metadata["reference_scores"]
    rows = [
        {"policy": name, "mean return": score["mean"], "episodes": len(score["returns"])}
        for name, score in scores.items()
    ]
    return {
        "num_episodes": manifest.metadata["num_episodes"],
        "num_transitions": manifest.metadata["num_transitions"],
        "expert_score": scores["expert"]["mean"],
        "random_score": scores["random"]["mean"],
        "expert_in_doubt": find_doubt(scores, manifest.metadata["floor"]) or "no",
        "reference_scores": table(rows),
    }
