# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from assets.checkpoint import checkpoint_folder
from assets.fan_out import make_tasks
from assets.materialization import OWNERS, picture, table
from assets.partitions import ALL_AT_ONCE, partitions_of
from assets.resources import Experiment, Progress, Stores
from assets.tokens import read_tokenizer
from db1_model.layout import StepLayout
from db1_model.positions import StepPositions
from db1_model.text import TextTokenizer
from db1_model.windows import choose_prompt
from storage.episode import Episode, Schema
from storage.manifest import Manifest, ManifestError
from storage.trajectories import StoredTrajectory
from tasks.policies import ExpertPolicy
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.scores import Verdict, bootstrap_interval, interquartile_mean, judge, normalise
from tasks.task import EVALUATION_SEED, Policy, Task, schema_of

if TYPE_CHECKING:
    from db1_model.checkpoint import Checkpoint  # imports torch

CODE_VERSION = "1"
_PROMPT_SEED = 0
_PROCESS_BYTES = 1 << 30
_BYTES_A_PARAMETER = 12  # weights, and keys and values of the episodes that are played at once


def define_evaluation(family: str) -> dg.AssetsDefinition:
    """Define the asset that holds the model's episodes in a family's tasks, a partition a task."""

    @dg.asset(
        key=["evaluation", family],
        deps=["checkpoint", ["trajectories", family]],
        description=f"The model's episodes in {family}, on the seeds of the reference scores, and its scores.",
        group_name="evaluation",
        kinds={"gymnasium", "pytorch"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        partitions_def=partitions_of(family),
        backfill_policy=ALL_AT_ONCE,
        pool="experts",
    )
    def evaluation(
        context: dg.AssetExecutionContext, stores: Stores, experiment: Experiment, progress: Progress
    ) -> Iterator[dg.MaterializeResult]:
        processes = count_processes(experiment, checkpoint_folder(stores, experiment).read())
        yield from make_tasks(context, _plan, _describe, stores, experiment, progress, num_processes=processes)

    return evaluation


def read_evaluation(stores: Stores, task_id: str) -> StoredTrajectory:
    """Open the model's episodes in a task.

    Raises:
        ManifestError: If they are missing, incomplete or damaged.
    """
    try:
        return stores.evaluation.read(task_id)
    except ManifestError as error:
        raise ManifestError("evaluation", task_id, error.fault) from None


def judge_evaluation(manifest: Manifest) -> Verdict:
    """Measure a stored evaluation against the reference scores that are stored with it."""
    facts = manifest.metadata
    return judge(manifest.name, facts["returns"], facts["reference_scores"], facts["floor"])


def evaluation_recipe(task: Task, experiment: Experiment, checkpoint: Manifest, reference: Manifest) -> dict[str, Any]:
    """Return what determines the model's episodes in a task.

    Args:
        task: The task.
        experiment: How many episodes are played.
        checkpoint: Of the model.
        reference: Of the expert's episodes, whose reference scores it is measured against.
    """
    return {
        "code_version": CODE_VERSION,
        "task": task.id,
        "task_code_version": task.code_version,
        "checkpoint": checkpoint.digest,
        "trajectories": reference.digest,
        "first_seed": EVALUATION_SEED,
        "num_episodes": experiment.num_evaluation_episodes,
    }


def count_processes(experiment: Experiment, checkpoint: Manifest) -> int:
    """Return in how many processes a checkpoint plays: at most the experiment's, and as many as fit into the memory."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    each_bytes = _PROCESS_BYTES + _BYTES_A_PARAMETER * checkpoint.metadata["num_parameters"]
    return min(experiment.processes, max(1, memory_bytes // each_bytes))


def _plan(
    stores: Stores, experiment: Experiment, progress: Progress, task_id: str
) -> tuple[Callable[[], Manifest | None], Callable[[], Manifest]]:
    checkpoint = checkpoint_folder(stores, experiment).read()
    reference = stores.trajectories.read(task_id).manifest
    recipe = evaluation_recipe(get_task(task_id), experiment, checkpoint, reference)
    return (
        lambda: stores.evaluation.find(task_id, recipe),
        lambda: _play(stores, experiment, progress, recipe, reference),
    )


def _play(
    stores: Stores, experiment: Experiment, progress: Progress, recipe: Mapping[str, Any], reference: Manifest
) -> Manifest:
    task, num_episodes = get_task(recipe["task"]), recipe["num_episodes"]
    seeds = range(recipe["first_seed"], recipe["first_seed"] + num_episodes)
    returns: list[float] = []

    def episodes() -> Iterator[Episode]:
        played = play(stores, *load_model(stores, experiment), task, seeds, num_slots=num_episodes)
        for episode in progress.track(task.id, played, total=num_episodes, unit="episodes"):
            returns.append(episode.total_return)
            yield episode

    def metadata() -> dict[str, Any]:
        scores = {name: reference.metadata[name] for name in ("reference_scores", "floor")}
        return {"returns": returns, "seeds": list(seeds), "checkpoint": recipe["checkpoint"], **scores}

    return stores.evaluation.write(task.id, schema_of(task), episodes(), recipe=recipe, metadata=metadata)


def load_model(stores: Stores, experiment: Experiment) -> "tuple[Checkpoint, TextTokenizer]":
    """Load an experiment's checkpoint and its tokenizer.

    Raises:
        ManifestError: If one is missing or damaged, or they do not belong together.
    """
    from db1_model.checkpoint import load_checkpoint  # imports torch

    text, vocabulary = read_tokenizer(stores, experiment)
    files = checkpoint_folder(stores, experiment).open()
    return load_checkpoint(files, vocabulary_digest=vocabulary.digest), text


def play(
    stores: Stores, checkpoint: "Checkpoint", text: TextTokenizer, task: Task, seeds: Sequence[int], *, num_slots: int
) -> Iterator[Episode]:
    """Let a checkpoint play a task, prompted from the task's shards, or read the documents of a task of documents.

    Args:
        stores: Where the shards are.
        checkpoint: The model; its vocabulary is that of the shards.
        text: Its tokenizer.
        task: The task.
        seeds: Seeds of the episodes.
        num_slots: Environments at once.

    Returns:
        The episodes, in the order of the seeds.

    Raises:
        ManifestError: If the task's shards are missing or damaged.
    """
    schema = schema_of(task)
    if schema.action.is_document:
        return _read(checkpoint, text, task, seeds)
    policy = _make_policy(stores, checkpoint, text, task, schema, num_slots)
    return roll_out(task, policy, seeds, num_slots=num_slots)


def _read(checkpoint: "Checkpoint", text: TextTokenizer, task: Task, seeds: Sequence[int]) -> Iterator[Episode]:
    """Score the model's reading of the documents that the expert writes: minus the bits per byte that it needs."""
    from db1_model.scoring import measure_bits  # imports torch

    for episode in roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1):
        document = str(episode.actions[0])
        bits = measure_bits(checkpoint.model, text, document) / max(1, len(document.encode()))
        yield replace(episode, rewards=np.array([-bits]))


def _make_policy(
    stores: Stores, checkpoint: "Checkpoint", text: TextTokenizer, task: Task, schema: Schema, num_slots: int
) -> Policy:
    from db1_model.policy import DB1Policy  # imports torch

    layout = StepLayout.from_schema(schema, checkpoint.vocabulary)
    places = StepPositions(layout, checkpoint.model.config)
    prompt = choose_prompt(stores.shards.read_task(task.id), places.whole_steps, seed=_PROMPT_SEED)
    layouts, prompts = [layout] * num_slots, [prompt] * num_slots
    return DB1Policy(checkpoint.model, layouts, checkpoint.vocabulary, text, prompts=prompts)


def _describe(manifest: Manifest) -> dict[str, Any]:
    from tasks.charts import draw_scores, to_png  # imports Matplotlib

    verdict, facts = judge_evaluation(manifest), manifest.metadata
    rows = [{"policy": name, "mean return": score["mean"]} for name, score in facts["reference_scores"].items()]
    described = {
        "score": verdict.score,
        "expert_normalised_score": verdict.normalised,
        "gap_to_expert": verdict.gap,
        "num_episodes": verdict.num_episodes,
        "checkpoint": facts["checkpoint"],
        "scores": table([*rows, {"policy": "model", "mean return": verdict.score}]),
    }
    shares = [normalise(one, verdict.floor, verdict.expert) for one in facts["returns"]]
    defined = [share for share in shares if share is not None]
    if defined:
        interval = (interquartile_mean(defined), *bootstrap_interval(defined, interquartile_mean, seed=0))
        figure = draw_scores({manifest.name: defined}, {manifest.name: interval}, unit="episodes")
        described["episodes"] = picture(to_png(figure, dpi=60))
    return described
