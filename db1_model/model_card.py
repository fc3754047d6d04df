from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from db1_model.config import ModelConfig
from db1_model.vocabulary import Vocabulary
from storage.manifest import Manifest

_SETTINGS = {
    "preset": "preset",
    "steps": "optimiser steps",
    "batch_windows": "sequences a step",
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "prompt_share": "share of sequences with a prompt",
    "precision": "precision",
    "seed": "seed",
}
_LOAD = """\
import torch

from db1_model.export import load_exported{text_import}

model, vocabulary, step = load_exported(".")
tokens = {tokens}
with torch.no_grad():
    logits = model.logits(model(tokens))
print(logits.shape)  # sequences, tokens, {vocab_size:,}
"""


class TaskScore(NamedTuple):
    """How a model did in one task.

    Args:
        task: Id of the task.
        num_episodes: Episodes played.
        model: Mean return of the model.
        floor: Mean return that counts as 0.
        floor_name: Who reached it.
        expert: Mean return that counts as 1.
        normalised: Expert-normalised score; None where it is undefined.
    """

    task: str
    num_episodes: int
    model: float
    floor: float
    floor_name: str
    expert: float
    normalised: float | None


def write_card(
    manifest: Manifest,
    config: ModelConfig,
    vocabulary: Vocabulary,
    *,
    task_licences: Mapping[str, str] | None,
    scores: Sequence[TaskScore],
    has_tokenizer: bool,
) -> str:
    """Write about a checkpoint what one has to know to use it and to trace it, as Markdown.

    Args:
        manifest: The checkpoint's.
        config: Its model.
        vocabulary: What its tokens mean.
        task_licences: The licence of each task that it was trained on, by id; None when the tasks are not known.
        scores: What it reached; empty when it was not evaluated.
        has_tokenizer: Whether ``tokenizer.json`` lies beside the weights.
    """
    sections = {
        "Load": _describe_loading(config, has_tokenizer),
        "Model": _describe_model(manifest, config, vocabulary),
        "Training": _describe_training(manifest),
        "Tasks": _describe_tasks(manifest, task_licences),
        "Scores": _describe_scores(scores),
        "Lineage": _describe_lineage(manifest, vocabulary),
        "Licence": _describe_licence(manifest, task_licences),
    }
    head = f"---\nlicense: {'other' if _is_imported(manifest) else 'apache-2.0'}\ntags: [db1, decision-model]\n---\n"
    first = (
        f"# {manifest.name}\n\nA DB1 decision model: one Transformer that plays tasks from tokens of what it observes. "
        f"{manifest.metadata['num_parameters']:,} parameters, float32, in `model.safetensors`; its configuration and "
        "vocabulary are in `config.json`."
    )
    return "\n\n".join([head + first, *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def _describe_loading(config: ModelConfig, has_tokenizer: bool) -> str:
    text_import, tokens = "", f"torch.randint(0, {config.vocab_size}, (1, 8))"
    if has_tokenizer:
        text_import = "\nfrom db1_model.text import TextTokenizer"
        tokens = 'torch.tensor([TextTokenizer.load(".").encode("go to the red ball")])'
    code = _LOAD.format(text_import=text_import, tokens=tokens, vocab_size=config.vocab_size)
    return f"With the package `db1` installed, in this folder:\n\n```python\n{code}```"


def _describe_model(manifest: Manifest, config: ModelConfig, vocabulary: Vocabulary) -> str:
    rows = {
        "parameters": f"{manifest.metadata['num_parameters']:,}",
        "layers, width, heads": f"{config.num_layers}, {config.width}, {config.num_heads}",
        "context, memory": f"{config.context_length}, {config.memory_length} positions",
        "attention": f"{config.position} positions, norm {config.norm}",
        "numbers": f"`{config.encoding}`, {config.num_bins} bins",
        "vocabulary": f"{vocabulary.text_size:,} text tokens, {vocabulary.num_bins:,} bins, a separator",
    }
    return _table(("", ""), rows.items())


def _describe_training(manifest: Manifest) -> str:
    if _is_imported(manifest):
        return (
            "Imported from DB1's published DeepSpeed checkpoint and widened to float32; nothing was trained here. Its "
            f"file counts {manifest.metadata['step']:,} optimiser steps. What the shapes of its weights do not tell is "
            f"taken to be:\n\n{_json(manifest.recipe['unstated'])}"
        )
    settings, log = manifest.recipe.get("training", {}), manifest.metadata.get("log")
    rows = [(words, settings[name]) for name, words in _SETTINGS.items() if name in settings]
    if log:
        rows.append(("final loss", f"{log[-1]['loss']:.4f} nats a token of an action"))
    return f"{_table(('', ''), rows)}\n\nAll settings:\n\n{_json(settings)}"


def _describe_tasks(manifest: Manifest, task_licences: Mapping[str, str] | None) -> str:
    if task_licences is None:
        where = "DB1's paper, arXiv 2212.12669, lists them" if _is_imported(manifest) else "the shards are not here"
        return f"The tasks that it was trained on are not recorded: {where}."
    return "Trained on the episodes of experts in:\n\n" + "\n".join(f"- `{task}`" for task in task_licences)


def _describe_scores(scores: Sequence[TaskScore]) -> str:
    if not scores:
        return "It has not been evaluated."
    rows = [
        (
            f"`{score.task}`",
            score.num_episodes,
            f"{score.model:,.4g}",
            f"{score.floor:,.4g} ({score.floor_name})",
            f"{score.expert:,.4g}",
            "undefined" if score.normalised is None else f"{100 * score.normalised:.1f} %",
        )
        for score in scores
    ]
    return (
        "Mean returns over episodes whose seeds no training episode has. A score is (model - floor) / (expert - "
        "floor): 0 % is the floor, 100 % the expert; it is undefined where the expert is no better than the floor.\n\n"
        + _table(("task", "episodes", "model", "floor", "expert", "score"), rows)
    )


def _describe_lineage(manifest: Manifest, vocabulary: Vocabulary) -> str:
    digests = {
        "checkpoint": manifest.digest,
        "recipe": manifest.key,
        "shards": manifest.recipe.get("shards"),
        "DeepSpeed's file": manifest.recipe.get("deepspeed"),
        "vocabulary": vocabulary.digest,
        "tokenizer": vocabulary.tokenizer_digest,
    }
    rows = [(name, f"`{digest}`") for name, digest in digests.items() if digest]
    return "What this was made from, by SHA-256:\n\n" + _table(("", "digest"), rows)


def _describe_licence(manifest: Manifest, task_licences: Mapping[str, str] | None) -> str:
    code = "The code that loads it is under the Apache License 2.0."
    if _is_imported(manifest):
        return f"{code} The weights are DB1's published ones, under the terms of their publisher."
    licences = sorted(set((task_licences or {}).values()))
    data = f" Environments and data of its tasks are under {', '.join(licences)}." if licences else ""
    cities = " Places of Chinese cities: GeoNames, CC BY 4.0." if "CC-BY-4.0" in licences else ""
    return f"Weights and code are under the Apache License 2.0.{data}{cities}"


def _is_imported(manifest: Manifest) -> bool:
    return "deepspeed" in manifest.recipe


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=1, sort_keys=True)}\n```"
