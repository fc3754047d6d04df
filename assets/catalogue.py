# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from assets.materialization import OWNERS, find_or_make, report_one, table
from assets.resources import Experiment, Stores
from storage.folder import StoredFolder
from storage.manifest import ManifestError
from storage.trajectories import KIND
from tasks.catalogue import list_entries, summarise_families, to_markdown
from tasks.registry import families, get_task

CODE_VERSION = "1"
DOCUMENT, ROWS = "tasks.md", "tasks.json"


@dg.asset(
    deps=[["trajectories", family] for family in families()],
    description="Every task of the experiment: who its expert is, how well it did, and whether it is proven to be one.",
    group_name="trajectories",
    kinds={"markdown", "json"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def catalogue(stores: Stores, experiment: Experiment) -> dg.MaterializeResult:
    """List the tasks, from the manifests of their episodes."""
    entries = list_entries(map(get_task, experiment.task_ids), stores.locations.trajectories)
    recipe = catalogue_recipe(stores, experiment)
    folder = StoredFolder(stores.locations.catalogue, "catalogue", experiment.name)

    def fill(path: Path) -> dict[str, Any]:
        (path / DOCUMENT).write_text(to_markdown(entries))
        (path / ROWS).write_text(json.dumps([asdict(entry) for entry in entries], indent=1))
        return {"tasks": len(entries), "proven": sum(entry.is_proven for entry in entries)}

    made = find_or_make(lambda: folder.find(recipe), lambda: folder.write(fill, recipe=recipe))
    doubted = [{"task": entry.task, "doubt": entry.doubt} for entry in entries if not entry.is_proven]
    known = made.manifest.metadata
    return report_one(made, {**known, "families": table(summarise_families(entries)), "not_proven": table(doubted)})


def catalogue_recipe(stores: Stores, experiment: Experiment) -> dict[str, Any]:
    """Return what determines the catalogue: the episodes that are stored, an empty digest where none are."""
    digests = {task_id: _digest(stores, task_id) for task_id in experiment.task_ids}
    return {"code_version": CODE_VERSION, "trajectories": digests}


def _digest(stores: Stores, task_id: str) -> str:
    try:
        return StoredFolder(stores.locations.trajectories, KIND, task_id).read_manifest().digest
    except ManifestError:
        return ""
