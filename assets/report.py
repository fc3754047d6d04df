from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.checkpoint import checkpoint_folder
from assets.contest import champions_of
from assets.evaluation import judge_evaluation, read_evaluation
from assets.language import language_recipe, read_language
from assets.materialization import OWNERS, find_or_make, picture, report_one, table
from assets.resources import Experiment, Progress, Stores
from assets.selection import trained_tasks
from storage.folder import StoredFolder
from storage.manifest import Manifest
from storage.trajectories import StoredTrajectory
from tasks.decisions_page import ServingFacts
from tasks.records import CheckpointFacts, EvaluationRecord, TaskLineage
from tasks.registry import families, get_task
from tasks.rollout import record_expert, start_players
from tasks.scores import Verdict, summarise

CODE_VERSION = "4"


@dg.asset(
    deps=["champion", *(["evaluation", family] for family in families())],
    description="Score table, who serves and why, threshold curve, training curve and maps of tours, as one HTML page, "
    "CSV and JSON.",
    group_name="evaluation",
    kinds={"html", "matplotlib"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def report(stores: Stores, experiment: Experiment, progress: Progress) -> dg.MaterializeResult:
    """Write up the evaluation of the experiment's checkpoint."""
    from tasks.report import PAGE, build_report, write_report  # imports Matplotlib

    folder = report_folder(stores, experiment)
    checkpoint = checkpoint_folder(stores, experiment).read()
    stored = {task_id: read_evaluation(stores, task_id) for task_id in trained_tasks(stores, experiment)}
    recipe = report_recipe(checkpoint, stored, champions_of(stores).record(experiment.name))

    def fill(path: Path) -> dict[str, Any]:
        records = [_record(stores, task_id, experiment, progress) for task_id in stored]
        lineage = [_lineage(stores, task_id) for task_id in stored]
        language = read_language(stores, experiment, progress, _find_spoken(stored))
        serving = _serving_facts(stores, experiment)
        write_report(path, build_report(records, _checkpoint_facts(checkpoint, made_at), lineage, language, serving))
        return {"language": language.measures} if language else {}

    made_at = checkpoint_folder(stores, experiment).made_at
    made = find_or_make(lambda: folder.find(recipe), lambda: folder.write(fill, recipe=recipe))
    verdicts = [judge_evaluation(one.manifest) for one in stored.values()]
    told = {**_describe(verdicts), **made.manifest.metadata.get("language", {})}
    return report_one(made, {"page": dg.MetadataValue.path(folder.open().path(PAGE)), **told})


def report_recipe(
    checkpoint: Manifest, stored: Mapping[str, StoredTrajectory], decisions: StoredFolder
) -> dict[str, Any]:
    """Return what a report is made from.

    Args:
        checkpoint: The checkpoint that it is about.
        stored: Its evaluations, by task id.
        decisions: The record of who serves; there may be none yet.
    """
    digests = {task_id: one.manifest.digest for task_id, one in stored.items()}
    recipe = {"code_version": CODE_VERSION, "checkpoint": checkpoint.digest, "evaluations": digests}
    decided = {"champion": decisions.read_manifest().digest} if decisions.exists else {}
    return recipe | decided | language_recipe(_find_spoken(stored))


def report_folder(stores: Stores, experiment: Experiment) -> StoredFolder:
    """Return the folder of an experiment's report."""
    return StoredFolder(stores.locations.report, "report", experiment.name)


def _find_spoken(stored: Mapping[str, StoredTrajectory]) -> list[str]:
    return [task_id for task_id, one in stored.items() if one.schema.action.kind == "text"]


def _record(stores: Stores, task_id: str, experiment: Experiment, progress: Progress) -> EvaluationRecord:
    stored = read_evaluation(stores, task_id)
    facts, task = stored.manifest.metadata, get_task(task_id)
    drawn = "-city-" in task_id
    with start_players(experiment.processes) as players:
        experts = record_expert(task, facts["seeds"], players=players) if drawn else ()
        tours = list(progress.track(task_id, experts, total=len(facts["seeds"]), unit="expert tours"))
    return EvaluationRecord(
        task=task_id,
        returns=facts["returns"],
        seeds=facts["seeds"],
        reference_scores=facts["reference_scores"],
        floor=facts["floor"],
        checkpoint=facts["checkpoint"],
        episodes=list(stored) if drawn else (),
        expert_episodes=tours,
    )


def _lineage(stores: Stores, task_id: str) -> TaskLineage:
    trajectories = stores.trajectories.read(task_id).manifest
    tokens, shards = stores.tokens.read(task_id).manifest, stores.shards.read_task(task_id).manifest
    return TaskLineage(
        task=task_id,
        trajectories=trajectories.digest,
        num_episodes=trajectories.metadata["num_episodes"],
        tokens=tokens.digest,
        num_tokens=tokens.metadata["num_tokens"],
        shards=shards.digest,
        num_shards=shards.metadata["num_shards"],
    )


def _serving_facts(stores: Stores, experiment: Experiment) -> ServingFacts | None:
    history = champions_of(stores).read(experiment.name)
    if not history.decisions:
        return None
    rows = [
        {"outcome": one.outcome, "challenger": one.challenger, "serves": one.serves, "reason": one.reason}
        for one in history.decisions
    ]
    return ServingFacts(history.serving, rows, history.decisions[-1].contest)


def _checkpoint_facts(checkpoint: Manifest, made_at: datetime) -> CheckpointFacts:
    facts = checkpoint.metadata
    return CheckpointFacts(
        digest=checkpoint.digest,
        preset=checkpoint.recipe["training"]["preset"],
        step=facts["step"],
        num_parameters=facts["num_parameters"],
        date=made_at.date().isoformat(),
        history=facts["log"],
        facts={"shards": checkpoint.recipe["shards"], "seed": str(checkpoint.recipe["training"]["seed"])},
        mixture=facts.get("mixture", ()),
    )


def _describe(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    from tasks.charts import draw_threshold_curve, to_png  # imports Matplotlib

    rows = [
        {"task": one.task, "floor": one.floor, "expert": one.expert, "model": one.score, "score": one.normalised}
        for one in verdicts
    ]
    scores = [one.normalised for one in verdicts if one.normalised is not None]
    if not scores:
        return {"tasks": table(rows)}
    summary = summarise(verdicts)
    return {
        "num_tasks": summary.num_tasks,
        "tasks_at_half_of_expert": summary.reached[0.5],
        "share_at_half_of_expert": summary.reached[0.5] / summary.num_tasks,
        "mean_score": summary.mean,
        "tasks": table(rows),
        "thresholds": picture(to_png(draw_threshold_curve(scores), dpi=80)),
    }
