# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
from typing import Any

import dagster as dg

from assets.materialization import OWNERS, Made, picture, report_one, table
from assets.resources import Experiment, Launcher, Progress, Stores
from db1_model.train import CODE_VERSION, training_recipe
from storage.folder import StoredFolder
from storage.manifest import Manifest
from tasks.charts import draw_training_curve, to_png


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
    folder, training = checkpoint_folder(stores, experiment), experiment.training_config
    recipe = training_recipe(training, stores.shards.read(experiment.name))
    if found := folder.find(recipe):
        return report_one(Made(found, found=True, seconds=0.0), _describe(found))
    configuration = {
        "shards": stores.locations.shards,
        "index": experiment.name,
        "checkpoints": stores.locations.checkpoints,
        "checkpoint": experiment.name,
        "training": training.to_json(),
    }
    told = launcher.train(context, configuration, progress)
    manifest = folder.read()
    if told.data_version is None or told.data_version.value != manifest.digest:
        raise RuntimeError(
            f"training reported {told.data_version}, but checkpoint {manifest.digest} lies in {folder.place.locate()}"
        )
    return told._replace(metadata={**_describe(manifest), **(told.metadata or {}), "work": "made now"})


def checkpoint_folder(stores: Stores, experiment: Experiment) -> StoredFolder:
    """Return the folder of an experiment's checkpoint."""
    return StoredFolder(stores.locations.checkpoints, "checkpoint", experiment.name)


def _describe(manifest: Manifest) -> dict[str, Any]:
    log = manifest.metadata["log"]
    return {
        "step": manifest.metadata["step"],
        "loss": log[-1]["loss"],
        "bytes": manifest.bytes,
        "shards": manifest.recipe["shards"],
        "training": dg.MetadataValue.json(manifest.recipe["training"]),
        "execution": dg.MetadataValue.json(manifest.metadata["execution"]),
        "mixture": table(manifest.metadata["mixture"]),
        "training_curve": picture(to_png(draw_training_curve(log), dpi=80)),
    }
