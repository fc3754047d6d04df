# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.materialization import OWNERS, Made, find_or_make, report_tasks, table
from assets.partitions import ALL_AT_ONCE, partitions_of, specialists_of
from assets.resources import Experiment, Progress, Stores
from storage.manifest import Manifest
from storage.trajectories import TrajectoryStore
from tasks.exchange.importing import find_imported
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import Players, measure_reference_scores, record_expert, start_players
from tasks.specialists.expert import with_specialist
from tasks.task import EVALUATION_SEED, Task, schema_of
from tasks.tsp.instances import with_tier

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
        deps=_specialists(family),
    )
    def trajectories(
        context: dg.AssetExecutionContext, stores: Stores, experiment: Experiment, progress: Progress
    ) -> Iterator[dg.MaterializeResult]:
        store, keys = stores.trajectories, context.partition_keys

        def make(task_id: str) -> Made:
            if not experiment.replace_imported and (imported := find_imported(get_task(task_id), store)):
                progress.say(f"{task_id}: imported episodes stay as they are; --replace-imported lets the expert play")
                return Made(imported, found=True, seconds=0.0)
            task, recipe = choose_expert(get_task(task_id), stores, experiment)
            name = f"{task_id} ({keys.index(task_id) + 1} of {len(keys)})" if len(keys) > 1 else task_id
            return find_or_make(
                lambda: store.find(task_id, recipe), lambda: _record(task, recipe, store, players, progress, name=name)
            )

        with start_players(experiment.processes) as players:
            yield from report_tasks(context, make, _describe)
            if told := players.describe():
                progress.say(f"{context.asset_key.to_user_string()}: {told}")

    return trajectories


def _specialists(family: str) -> list[dg.AssetDep]:
    if not (keys := specialists_of(family).get_partition_keys()):
        return []
    return [
        dg.AssetDep(["specialists", family], partition_mapping=dg.StaticPartitionMapping({key: key for key in keys}))
    ]


def choose_expert(task: Task, stores: Stores, experiment: Experiment) -> tuple[Task, dict[str, Any]]:
    """Return a task with the expert that plays in an experiment, and what determines its episodes and reference scores.

    Raises:
        UntrainedError: If the expert is a specialist that is missing, damaged, or trained by another recipe.
    """
    task, specialist = with_specialist(task, stores.locations.specialists)
    if experiment.tour_tier and task.family == "tsp":
        task = with_tier(task, experiment.tour_tier)
    return task, {
        "code_version": CODE_VERSION,
        "task": task.id,
        "task_code_version": task.code_version,
        "floor": task.floor,
        "num_episodes": experiment.num_episodes or task.num_episodes,
        "first_evaluation_seed": EVALUATION_SEED,
        "num_evaluation_episodes": experiment.num_evaluation_episodes,
        **({"specialist": specialist} if specialist else {}),
    }


def _record(
    task: Task,
    recipe: Mapping[str, Any],
    store: TrajectoryStore,
    players: Players,
    progress: Progress,
    *,
    name: str,
) -> Manifest:
    num_episodes = recipe["num_episodes"]
    episodes, begun = record_expert(task, range(num_episodes), players=players), time.perf_counter()

    def metadata() -> dict[str, Any]:
        seconds = time.perf_counter() - begun
        scores = measure_reference_scores(task, recipe["num_evaluation_episodes"], players=players)
        return {
            "floor": task.floor,
            "reference_scores": scores,
            "expert_route": task.expert_route,
            "expert_seconds": seconds,
            "num_processes": players.num_processes,
        }

    tracked = progress.track(name, episodes, total=num_episodes, unit="episodes")
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
        "expert_route": manifest.metadata["expert_route"],
        "expert_in_doubt": find_doubt(scores, manifest.metadata["floor"]) or "no",
        "reference_scores": table(rows),
    }
