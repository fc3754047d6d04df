from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.materialization import OWNERS, Made, find_or_make, report_one, table
from assets.resources import Experiment, Progress, Stores
from assets.selection import trained_tasks
from assets.tokens import read_tokenizer
from db1_model.vocabulary import Vocabulary
from storage.manifest import Manifest, ManifestError
from tasks.registry import families

CODE_VERSION = "3"
_COUNTS = ("num_episodes", "num_transitions", "num_tokens", "num_shards")
_ORDER_SEED = 0


@dg.asset(
    deps=[["tokens", family] for family in families()],
    description="Tokens of the experiment's tasks, permuted and packed into WebDataset tars, and an index over them.",
    group_name="training",
    kinds={"webdataset"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def shards(stores: Stores, experiment: Experiment, progress: Progress) -> dg.MaterializeResult:
    """Pack the shards of every task, and write the index that training reads."""
    store, name, tasks = stores.shards, experiment.name, trained_tasks(stores, experiment)
    _, vocabulary = read_tokenizer(stores, experiment)
    tracked = progress.track("shards", tasks, total=len(tasks), unit="tasks")
    packed = {task_id: _pack(stores, experiment, task_id, vocabulary) for task_id in tracked}
    recipe = index_recipe({task: one.manifest for task, one in packed.items()})
    metadata = {"vocabulary": vocabulary.to_json()}
    made = find_or_make(
        lambda: store.find_index(name, recipe),
        lambda: store.write_index(name, tasks, recipe=recipe, metadata=metadata),
    )
    rows = [{"task": task, **_counts(one.manifest), "digest": one.manifest.digest[:12]} for task, one in packed.items()]
    now = {"num_tasks": len(tasks), "packed_now": sum(not one.found for one in packed.values()), "tasks": table(rows)}
    return report_one(made, _counts(made.manifest) | now)


def _pack(stores: Stores, experiment: Experiment, task: str, vocabulary: Vocabulary) -> Made:
    tokens = stores.tokens.read(task)
    if tokens.layout["vocabulary_digest"] != vocabulary.digest:
        raise ManifestError("tokens", task, f"they are of another vocabulary, expected {vocabulary.digest[:12]}...")
    recipe, sizes = shards_recipe(tokens.manifest, experiment), _sizes(experiment)
    return find_or_make(
        lambda: stores.shards.find(task, recipe),
        lambda: stores.shards.write(task, tokens, recipe=recipe, seed=_ORDER_SEED, **sizes),
    )


def shards_recipe(tokens: Manifest, experiment: Experiment) -> dict[str, Any]:
    """Return what determines the shards of a task."""
    return {"code_version": CODE_VERSION, "tokens": tokens.digest, "seed": _ORDER_SEED, **_sizes(experiment)}


def index_recipe(shards: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return what determines the index over the shards of some tasks, by task id."""
    return {"code_version": CODE_VERSION, "shards": {task: manifest.digest for task, manifest in shards.items()}}


def _sizes(experiment: Experiment) -> dict[str, Any]:
    return {"shard_bytes": experiment.shard_bytes, "compression": experiment.compression}


def _counts(manifest: Manifest) -> dict[str, Any]:
    return {name: manifest.metadata[name] for name in _COUNTS}
