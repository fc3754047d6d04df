# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg

from assets.materialization import OWNERS, Made, picture, report_tasks
from assets.partitions import ALL_AT_ONCE, specialists_of
from assets.resources import Experiment, Progress, Stores
from storage.folder import StoredFolder
from storage.manifest import Manifest
from tasks.processes import follow
from tasks.registry import get_task
from tasks.specialists.expert import CODE_VERSION, KIND, find_specialist


def define_specialists(family: str) -> dg.AssetsDefinition:
    """Define the asset that holds the policies trained to be a family's experts, a partition a task."""

    @dg.asset(
        key=["specialists", family],
        description=f"Policies of {family}, trained by reinforcement learning with published recipes.",
        group_name="specialists",
        kinds={"pytorch", "gymnasium"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        partitions_def=specialists_of(family),
        backfill_policy=ALL_AT_ONCE,
        pool="specialists",
    )
    def specialists(
        context: dg.AssetExecutionContext, stores: Stores, experiment: Experiment, progress: Progress
    ) -> Iterator[dg.MaterializeResult]:
        with ThreadPoolExecutor(experiment.processes) as trainings:
            begun = {key: trainings.submit(_train, key, stores, experiment, progress) for key in context.partition_keys}
            yield from report_tasks(context, lambda task_id: begun[task_id].result(), _describe)

    return specialists


def _train(task_id: str, stores: Stores, experiment: Experiment, progress: Progress) -> Made:
    root, share = stores.locations.specialists, experiment.specialist_share
    folder = StoredFolder(root, KIND, task_id)
    if found := find_specialist(folder, get_task(task_id), share=share):
        return Made(found, found=True, seconds=0.0)
    command = [sys.executable, "-m", "tasks.specialists.train", task_id, "--root", root, "--share", str(share)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    (code,), last_lines = follow([command], environment, progress.say)
    if code:
        raise RuntimeError(
            f"the training of {task_id!r} ended with exit code {code}; it goes on after its last leg with:\n"
            f"  db1 make specialists {task_id} --specialist-share {share:g}\nits last lines:\n{''.join(last_lines)}"
        )
    manifest = folder.read()
    return Made(manifest, found=False, seconds=manifest.metadata["seconds"])


def _describe(manifest: Manifest) -> dict[str, Any]:
    from tasks.charts import draw_learning_curve, to_png  # imports Matplotlib

    known = manifest.metadata
    return {
        "score": known["score"],
        "published_score": known["published_score"],
        "source": manifest.recipe["training"]["source"],
        "steps": known["curve"][-1]["steps"],
        "training_seconds": known["seconds"],
        "learning_curve": picture(to_png(draw_learning_curve(known["curve"], known["published_score"]), dpi=80)),
    }
