from __future__ import annotations

from assets.resources import Experiment, Stores
from assets.selection import trained_tasks
from storage.manifest import ManifestError


def changed_tasks(stores: Stores, experiment: Experiment) -> dict[str, str]:
    """Return the tasks whose expert episodes are not those that the experiment's shards were made from.

    The way back is by digest: index, shards, tokens, trajectories.

    Returns:
        The digest of the new episodes by task id; empty when all is as it was.

    Raises:
        ManifestError: If the experiment has no shards yet, or its trajectories are missing.
    """
    trained = stores.shards.read(experiment.name)
    changed: dict[str, str] = {}
    for task_id in trained_tasks(stores, experiment):
        present = stores.trajectories.read(task_id).manifest.digest
        try:
            tokens = stores.tokens.read(task_id).manifest
        except ManifestError:
            tokens = None
        used = trained[task_id].manifest.recipe["tokens"] if task_id in trained else None
        if tokens is None or tokens.digest != used or tokens.recipe["trajectories"] != present:
            changed[task_id] = present
    return changed
