from __future__ import annotations

from typing import TYPE_CHECKING

from assets.contest import champions_of
from assets.resources import Stores
from db1_model.layout import StepLayout
from db1_model.positions import StepPositions
from db1_model.windows import choose_prompt
from pipelines.experiments import EXPERIMENTS
from storage.champions import KEPT
from storage.folder import StoredFiles, StoredFolder, stored_names
from storage.manifest import Manifest, ManifestError
from tasks.registry import get_task
from tasks.task import Task, schema_of

if TYPE_CHECKING:
    from db1_model.policy import DB1Policy
    from db1_model.text import TextTokenizer

CHAMPION = "@champion"
"""What follows an experiment's name where its champion is meant, and not its newest checkpoint."""

_PROMPT_SEED = 0  # that of the evaluation


def open_checkpoint(stores: Stores, name: str) -> StoredFiles:
    """Open a checkpoint, trained or imported, or the champion that serves as ``<experiment>@champion``.

    Raises:
        ValueError: If it is missing or damaged; the message says which there are, and what makes it.
    """
    if name.endswith(CHAMPION):
        return champions_of(stores).open(name.removesuffix(CHAMPION))
    try:
        return StoredFolder(stores.locations.checkpoints, "checkpoint", name).open()
    except ManifestError as error:
        there = ", ".join(stored_names(stores.locations.checkpoints)) or "none"
        raise _explain("checkpoint", name, f"{error.fault} (checkpoints that are there: {there})") from None


def newest_checkpoint(stores: Stores) -> str | None:
    """Return the name of the checkpoint to take where none was chosen; None if there is none.

    It is the one made last, and if that is an experiment's which has a champion, the champion.
    """
    trained, champions = stores.locations.checkpoints, champions_of(stores)
    folders = {name: StoredFolder(trained, "checkpoint", name) for name in stored_names(trained)}
    folders |= {f"{name}{CHAMPION}": champions.record(name) for name in champions.experiments()}
    made_at = {name: folder.made_at for name, folder in folders.items()}
    newest = max(made_at, key=lambda name: (made_at[name], name), default=None)
    return f"{newest}{CHAMPION}" if f"{newest}{CHAMPION}" in folders else newest


def trained_tasks_of(stores: Stores, checkpoint: Manifest) -> tuple[str, ...]:
    """Return the tasks that a checkpoint was trained on; none when its shards are not here, and it is no champion."""
    if checkpoint.kind == KEPT:
        return tuple(checkpoint.recipe["evaluations"])
    try:
        index = stores.shards.read(checkpoint.name)
    except ManifestError:
        return ()
    return tuple(index.tasks) if index.digest == checkpoint.recipe.get("shards") else ()


def find_tokenizer(stores: Stores, name: str) -> TextTokenizer | None:
    """Return the tokenizer of an experiment or of an imported checkpoint; None when it is not there.

    Raises:
        ManifestError: If it is damaged.
    """
    from db1_model.text import TextTokenizer

    if name.endswith(CHAMPION):
        files = open_checkpoint(stores, name)
    elif (folder := StoredFolder(stores.locations.tokenizer, "tokenizer", name)).exists:
        files = folder.open()
    else:
        return None
    files.verify()
    return TextTokenizer.load(files.folder)


def open_tokenizer(stores: Stores, name: str) -> TextTokenizer:
    """Return the tokenizer of an experiment or of an imported checkpoint.

    Raises:
        ValueError: If it is missing or damaged; the message says what makes it.
    """
    text = find_tokenizer(stores, name)
    if text is None:
        raise _explain("tokenizer", name, f"there is none in {stores.locations.tokenizer}")
    return text


def find_licences(stores: Stores, checkpoint: Manifest) -> dict[str, str] | None:
    """Return the licence of each task that a checkpoint was trained on, by id; None when its shards are not here."""
    return {task_id: get_task(task_id).licence for task_id in trained_tasks_of(stores, checkpoint)} or None


def make_policy(
    stores: Stores,
    name: str,
    task: Task,
    *,
    num_slots: int,
    device: str,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[DB1Policy, bool]:
    """Return a checkpoint that plays a task, and whether it has the prompt that the evaluation gives.

    It has when the task's shards are of the checkpoint's vocabulary.

    Args:
        stores: What is on disk.
        name: Name of the checkpoint.
        task: The task.
        num_slots: Environments at once.
        device: Where the model computes.
        temperature: 0 takes the likeliest token; above it, tokens are drawn.
        seed: Seed of these draws.

    Raises:
        ValueError: If the checkpoint or its tokenizer is missing or damaged, or the task does not fit the model.
    """
    from db1_model.checkpoint import load_checkpoint
    from db1_model.policy import DB1Policy

    files, text = open_checkpoint(stores, name), open_tokenizer(stores, name)
    model, vocabulary, _ = load_checkpoint(files, device=device)
    if text.digest != vocabulary.tokenizer_digest:
        fault = f"it is {text.digest[:12]}, the checkpoint has {vocabulary.tokenizer_digest[:12]}"
        raise _explain("tokenizer", name, fault)
    layout = StepLayout.from_schema(schema_of(task), vocabulary)
    places, prompt = StepPositions(layout, model.config), None
    try:
        shards = stores.shards.read_task(task.id)
    except ManifestError:
        shards = None
    if shards is not None and shards.layout["vocabulary_digest"] == vocabulary.digest:
        prompt = choose_prompt(shards, places.whole_steps, seed=_PROMPT_SEED)
    layouts, prompts = [layout] * num_slots, [prompt] * num_slots
    policy = DB1Policy(model, layouts, vocabulary, text, prompts=prompts, temperature=temperature, seed=seed)
    return policy, prompt is not None


def _explain(kind: str, name: str, fault: str) -> ValueError:
    """The error whose message says what makes the thing: a stage of an experiment, or the import."""
    if name in EXPERIMENTS:
        return ManifestError(kind, name, fault)
    command = f"db1 checkpoint import FOLDER --name {name} --tokenizer FOLDER"
    return ValueError(f"{kind} {name!r}: {fault}; it is no experiment's, so import it with:\n  {command}")
