from __future__ import annotations

from assets.resources import Experiment, Stores
from tasks.catalogue import list_entries
from tasks.registry import get_task


def trained_tasks(stores: Stores, experiment: Experiment) -> tuple[str, ...]:
    """Return the tasks that an experiment trains on and is scored in.

    With ``only_proven`` these are the tasks whose stored episodes prove their expert, otherwise all.

    Raises:
        ValueError: If no expert is proven.
    """
    if not experiment.only_proven:
        return experiment.task_ids
    entries = list_entries(map(get_task, experiment.task_ids), stores.locations.trajectories)
    if not (proven := tuple(entry.task for entry in entries if entry.is_proven)):
        raise ValueError(
            f"none of the {len(entries)} tasks of experiment {experiment.name!r} has a proven expert; let them play:\n"
            f"  db1 make trajectories --experiment {experiment.name}"
        )
    return proven
