from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from assets.resources import Stores
from assets.trace import Link, Trace
from storage.manifest import Manifest
from tasks.registry import get_task

_SHORT = 12
_HEAD = (
    *("task", "licence", "expert", "version", "episodes", "seeds", "steps", "tokens", "share"),
    *("episodes' digest", "tokens' digest", "shards' digest"),
)


def write_data_card(stores: Stores, checkpoint: Manifest) -> str:
    """Write about the data that a checkpoint was trained on, from its lineage, as Markdown.

    Args:
        stores: What is on disk.
        checkpoint: The checkpoint's manifest.

    Returns:
        The card; empty where the checkpoint was not trained here. What was replaced since is said to be not known.
    """
    if "shards" not in checkpoint.recipe:
        return ""
    index = Trace(stores, checkpoint.name).follow_shards(checkpoint.recipe["shards"], checkpoint.name)
    shares = {row["task"]: row["realised_share"] for row in checkpoint.metadata.get("mixture", ())}
    tasks = {link.name: dict(_walk(link)) for link in index.inputs}
    sections = [
        f"# Data of {checkpoint.name}\n\nWhat the checkpoint `{checkpoint.digest}` was trained on, told by the digests "
        "(SHA-256) that lead back from it.",
        _describe_whole(index),
        "## Tasks\n\nA seed fixes an episode; evaluation has seeds from 1,000,000 on. The share is of the training "
        "sequences. Digests are those of the manifests, shortened.\n\n"
        + _table(_HEAD, (_row(task, found, shares) for task, found in tasks.items())),
        *_describe_imports(tasks),
    ]
    return "\n\n".join(sections) + "\n"


def _walk(link: Link) -> Iterator[tuple[str, Link]]:
    """Yield the links of one task by their shelf."""
    yield link.shelf, link
    for one in link.inputs:
        yield from _walk(one)


def _describe_whole(index: Link) -> str:
    if index.fault:
        return f"The shards `{index.digest}` that it was trained on are not here any more; nothing is known of them."
    facts = index.facts or {}
    counts = [f"{facts[name]:,} {name.removeprefix('num_')}" for name in facts if name.startswith("num_")]
    made = f" Made {index.made_at:%Y-%m-%d}." if index.made_at else ""
    faults = list({id(link): link for link in index.faults()}.values())
    broken = f" Replaced since it was used, and so not known any more: {len(faults)}." if faults else ""
    return f"{', '.join(counts)}; shards `{index.digest}`.{made}{broken}"


def _row(task: str, found: Mapping[str, Link], shares: Mapping[str, float]) -> Sequence[str]:
    episodes, tokens, shards = (found.get(shelf) for shelf in ("trajectories", "tokens", "shards"))
    facts = (episodes.facts if episodes else None) or {}
    recipe = episodes.manifest.recipe if episodes and episodes.manifest else {}
    seeds = "of the source" if "imported" in recipe else f"0 to {recipe['num_episodes'] - 1:,}" if recipe else "?"
    steps, num_tokens = facts.get("num_transitions"), ((tokens.facts if tokens else None) or {}).get("num_tokens")
    return (
        f"`{task}`",
        get_task(task).licence,
        str(facts.get("expert_route", "?")),
        str(recipe.get("task_code_version", "?")),
        *map(_number, (facts.get("num_episodes"),)),
        seeds,
        *map(_number, (steps, num_tokens)),
        f"{100 * shares[task]:.2f} %" if task in shares else "?",
        *(_digest(link) for link in (episodes, tokens, shards)),
    )


def _describe_imports(tasks: Mapping[str, Mapping[str, Link]]) -> Iterator[str]:
    rows = [
        (f"`{task}`", facts["imported"].get("format", "?"), f"`{facts['imported'].get('source', '?')}`", name, sha256)
        for task, found in tasks.items()
        if (facts := (found["trajectories"].facts or {}) if "trajectories" in found else {}) and "imported" in facts
        for name, sha256 in facts["files"]
    ]
    if rows:
        yield "## Imported episodes\n\n" + _table(("task", "format", "source", "file", "SHA-256"), rows)


def _number(value: Any) -> str:
    return "?" if value is None else f"{value:,}"


def _digest(link: Link | None) -> str:
    if link is None:
        return "not known"
    return f"`{link.digest[:_SHORT]}`{' (replaced since)' if link.fault else ''}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
