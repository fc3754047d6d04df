from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.evaluation import judge_evaluation
from assets.resources import Stores
from storage.inventory import Shelf
from storage.manifest import Manifest, ManifestError
from tasks.registry import get_task

_WORDS_SHOWN = 200


def describe_thing(stores: Stores, shelf: Shelf, manifest: Manifest, *, task: str = "") -> dict[str, Any]:
    """Return what is worth knowing of something stored, as JSON values, the most telling first.

    Args:
        stores: What is on disk.
        shelf: Where it lies.
        manifest: Its manifest.
        task: The task that one asks about: of it more is told, such as its share of the training.
    """
    facts = _DESCRIBE.get(shelf.folder, _count)(manifest)
    if shelf.folder == "checkpoints" and task:
        rows = [row for row in manifest.metadata.get("mixture", ()) if row["task"] == task]
        facts |= _pick(rows[0] if rows else {}, "requested_share", "realised_share", "windows", "epochs")
    if shelf.folder == "trajectories" and manifest.name == task:
        facts |= _read_episodes(stores, task)
    return {**facts, **_pick(manifest.recipe, "code_version", "task_code_version"), "bytes": manifest.bytes}


def _pick(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _count(manifest: Manifest) -> dict[str, Any]:
    of_tasks = ("tasks", "num_tasks", "proven", "num_shards")
    return _pick(manifest.metadata, *of_tasks, "num_episodes", "num_transitions", "num_tokens", "num_sentences")


def _read_episodes(stores: Stores, task: str) -> dict[str, Any]:
    """Return what the first and last episode say; of a damaged store, that it is."""
    try:
        episodes = stores.trajectories.read(task)
        seeds, provenance = [episodes[0].seed, episodes[-1].seed], _shorten(episodes[0].provenance)
    except ManifestError as error:
        return {"unreadable": error.fault}
    return {"seeds": seeds, "licence": get_task(task).licence, "provenance": provenance}


def _describe_evaluation(manifest: Manifest) -> dict[str, Any]:
    verdict, seeds = judge_evaluation(manifest), manifest.metadata["seeds"]
    return {
        "score": verdict.normalised,
        "mean_return": verdict.score,
        "floor": {verdict.floor_name: verdict.floor},
        "expert": verdict.expert,
        "num_episodes": verdict.num_episodes,
        "seeds": [min(seeds), max(seeds)],
    }


def _describe_trajectories(manifest: Manifest) -> dict[str, Any]:
    known = manifest.metadata
    facts = {"expert_route": known.get("expert_route")} | _count(manifest)
    if "expert_seconds" in known:
        facts |= {"expert_seconds": round(known["expert_seconds"], 1), "num_processes": known["num_processes"]}
    if "imported" in known:
        files = manifest.recipe["imported"]["files"]  # of texts, pictures and talks one digest of all
        named = [["all files", files]] if isinstance(files, str) else files
        facts |= {"imported": _shorten(known["imported"]), "files": named}
    return facts


def _describe_specialist(manifest: Manifest) -> dict[str, Any]:
    known, recipe = manifest.metadata, manifest.recipe
    told = _pick(known, "score", "published_score", "seconds", "versions")
    return {"source": recipe["training"]["source"], **_pick(recipe, "seed", "share_of_steps"), **told}


def _describe_tokenizer(manifest: Manifest) -> dict[str, Any]:
    return _count(manifest) | ({"imported": True} if "imported" in manifest.recipe else {})


def _describe_tokens(manifest: Manifest) -> dict[str, Any]:
    of_vocabulary = _pick(manifest.recipe["vocabulary"], "text_size", "num_bins")
    return _count(manifest) | of_vocabulary | _pick(manifest.recipe, "minimum_return_share")


def _describe_shards(manifest: Manifest) -> dict[str, Any]:
    return _count(manifest) | _pick(manifest.recipe, "compression", "seed")


def _describe_checkpoint(manifest: Manifest) -> dict[str, Any]:
    known, log = manifest.metadata, manifest.metadata.get("log")
    facts = _pick(manifest.recipe.get("training", {}), "preset", "seed") | _pick(known, "num_parameters", "step")
    facts |= {"loss": log[-1]["loss"]} if log else {}
    return facts | _pick(known, "world_size", "execution") | _pick(manifest.recipe, "deepspeed")


def _describe_decision(manifest: Manifest) -> dict[str, Any]:
    return _pick(manifest.recipe["decision"], "outcome", "reason", "challenger", "champion", "serves")


_DESCRIBE = {
    "champions": _describe_decision,
    "champions/_kept": _describe_checkpoint,
    "evaluation": _describe_evaluation,
    "trajectories": _describe_trajectories,
    "specialists": _describe_specialist,
    "tokenizer": _describe_tokenizer,
    "tokens": _describe_tokens,
    "shards": _describe_shards,
    "checkpoints": _describe_checkpoint,
}


def _shorten(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of an origin, without what is long, such as a tour or its potentials."""
    return {name: value for name, value in provenance.items() if len(str(value)) <= _WORDS_SHOWN}
