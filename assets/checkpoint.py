# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
from dataclasses import replace
from typing import Any

import dagster as dg

from assets.live import observe_training
from assets.materialization import OWNERS, find_or_make, picture, report_one, table
from assets.resources import Experiment, Launcher, Progress, Stores
from assets.warm_start import choose_start, locate_start
from db1_model.config import TrainingConfig
from db1_model.train import CODE_VERSION, training_recipe
from storage.folder import StoredFolder
from storage.manifest import Manifest


@dg.asset(
    deps=["shards"],
    description="The model, trained by a process of its own that goes on where a killed one stopped.",
    group_name="training",
    kinds={"pytorch", "lightning"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    pool="training",
)
def checkpoint(
    context: dg.AssetExecutionContext, stores: Stores, experiment: Experiment, launcher: Launcher, progress: Progress
) -> dg.MaterializeResult:
    """Train, and report what the training process told of its checkpoint."""
    folder, index = checkpoint_folder(stores, experiment), stores.shards.read(experiment.name)
    training = choose_start(stores, experiment, index)
    recipe, told = training_recipe(training, index), dict[str, Any]()

    def train() -> Manifest:
        with observe_training(context, folder, recipe):
            result = launcher.train(context, _configure(stores, experiment, training), progress)
        told.update(result.metadata or {})
        return _read_told(folder, result)

    made = find_or_make(lambda: folder.find(recipe), train)
    if training.accelerator == "gpu":
        made = replace(made, gpus=training.devices * training.num_nodes)
    return report_one(made, {**_describe(made.manifest), **told})


def checkpoint_folder(stores: Stores, experiment: Experiment) -> StoredFolder:
    """Return the folder of an experiment's checkpoint."""
    return StoredFolder(stores.locations.checkpoints, "checkpoint", experiment.name)


def _configure(stores: Stores, experiment: Experiment, training: TrainingConfig) -> dict[str, Any]:
    return {
        "shards": stores.locations.shards,
        "index": experiment.name,
        "checkpoints": stores.locations.checkpoints,
        "checkpoint": experiment.name,
        "training": training.to_json(),
        "start": locate_start(stores, experiment, training),
    }


def _read_told(folder: StoredFolder, told: dg.MaterializeResult) -> Manifest:
    manifest = folder.read()
    if told.data_version is None or told.data_version.value != manifest.digest:
        where = folder.place.locate()
        raise RuntimeError(f"training reported {told.data_version}, but checkpoint {manifest.digest} lies in {where}")
    return manifest


def _describe(manifest: Manifest) -> dict[str, Any]:
    from tasks.charts import draw_training_curve, to_png  # imports Matplotlib

    log = manifest.metadata["log"]
    return {
        "step": manifest.metadata["step"],
        "loss": log[-1]["loss"],
        "shards": manifest.recipe["shards"],
        "training": dg.MetadataValue.json(manifest.recipe["training"]),
        "execution": dg.MetadataValue.json(manifest.metadata["execution"]),
        "mixture": table(manifest.metadata["mixture"]),
        "training_curve": picture(to_png(draw_training_curve(log), dpi=80)),
    }
