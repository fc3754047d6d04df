# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import numpy as np

from assets.evaluation import read_evaluation
from assets.materialization import table
from assets.partitions import partitions_of
from assets.resources import Experiment, Stores
from assets.tokens import read_tokenizer
from db1_model.layout import StepLayout
from db1_model.sequence import decode_action_tokens, encode_steps
from storage.manifest import ManifestError
from storage.trajectories import StoredTrajectory
from tasks.filter import FilteredEpisodes
from tasks.proof import PROOF_EPISODES, find_doubt
from tasks.tsp.verification import verify_episode

Fault = dict[str, Any]
_EPISODES_LOOKED_AT = 3


def define_expert_check(family: str) -> dg.AssetChecksDefinition:
    """Define the check that a family's experts are better than chance and than the floor of the score."""

    @dg.asset_check(
        asset=["trajectories", family],
        blocking=True,
        description="In every task the expert's mean return is above the random policy's and above the score's floor: "
        "by two standard errors, when there are episodes enough to prove it. An experiment of proven tasks goes on "
        "without the others.",
    )
    def expert_is_better(
        context: dg.AssetCheckExecutionContext, stores: Stores, experiment: Experiment
    ) -> dg.AssetCheckResult:
        result = _judge(context, family, lambda task_id: _expert_faults(stores.trajectories.read(task_id)))
        return result._replace(severity=dg.AssetCheckSeverity.WARN) if experiment.only_proven else result

    return expert_is_better


@dg.asset_check(
    asset=["trajectories", "tsp"],
    blocking=True,
    description="By code that shares nothing with the solver: a tour visits each node once, is as long as its return "
    "says and no shorter than its bounds, and the bound by potentials follows from them.",
)
def tours_are_valid(context: dg.AssetCheckExecutionContext, stores: Stores) -> dg.AssetCheckResult:
    """Look at every tour of the run's tasks."""
    gaps: list[float] = []
    result = _judge(context, "tsp", lambda task_id: _tour_faults(task_id, stores.trajectories.read(task_id), gaps))
    told = {"tours": len(gaps), "proven": gaps.count(0.0), "mean_certified_gap": float(np.mean(gaps)) if gaps else 0.0}
    return result._replace(metadata={**result.metadata, **told})


def define_round_trip_check(family: str) -> dg.AssetChecksDefinition:
    """Define the check that tokens say what the episodes said."""

    @dg.asset_check(
        asset=["tokens", family],
        blocking=True,
        description="Actions come back from their tokens, within half a bin where they are continuous, and encoding an "
        "episode again gives the stored tokens and images.",
    )
    def tokens_round_trip(
        context: dg.AssetCheckExecutionContext, stores: Stores, experiment: Experiment
    ) -> dg.AssetCheckResult:
        return _judge(context, family, lambda task_id: _round_trip_faults(stores, experiment, task_id))

    return tokens_round_trip


def define_scores_check(family: str) -> dg.AssetChecksDefinition:
    """Define the check that a family's evaluation has a finite score for every episode."""

    @dg.asset_check(
        asset=["evaluation", family],
        blocking=True,
        description="Every episode of the model has a finite return, and there are as many as were asked for.",
    )
    def scores_are_finite(context: dg.AssetCheckExecutionContext, stores: Stores) -> dg.AssetCheckResult:
        return _judge(context, family, lambda task_id: _score_faults(read_evaluation(stores, task_id)))

    return scores_are_finite


@dg.asset_check(
    asset="shards", blocking=True, description="Every byte of every shard has the digest it was written with."
)
def shards_are_sound(stores: Stores, experiment: Experiment) -> dg.AssetCheckResult:
    """Read all shards of the experiment."""
    index = stores.shards.read(experiment.name)
    try:
        index.verify()
    except ManifestError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    return dg.AssetCheckResult(passed=True, metadata={"tasks": len(index.tasks), "digest": index.digest})


def _judge(
    context: dg.AssetCheckExecutionContext, family: str, find_faults: Callable[[str], Iterator[Fault]]
) -> dg.AssetCheckResult:
    in_run = context.has_partition_key or context.has_partition_key_range
    task_ids = context.partition_keys if in_run else partitions_of(family).get_partition_keys()
    faults = [{"task": task_id, **fault} for task_id in task_ids for fault in find_faults(task_id)]
    metadata = {"tasks": len(task_ids), "faults": len(faults), **({"found": table(faults[:50])} if faults else {})}
    description = "; ".join(f"{fault['task']}: {fault['fault']}" for fault in faults[:5])
    return dg.AssetCheckResult(passed=not faults, metadata=metadata, description=description or None)


def _expert_faults(episodes: StoredTrajectory) -> Iterator[Fault]:
    scores, floor = episodes.manifest.metadata["reference_scores"], episodes.manifest.metadata["floor"]
    expert = scores["expert"]["mean"]
    for name in dict.fromkeys(("random", floor)):
        if not expert > scores[name]["mean"]:
            yield {"fault": f"the expert's mean return is {expert:.4g}, {name}'s is {scores[name]['mean']:.4g}"}
            return
    if len(scores["expert"]["returns"]) >= PROOF_EPISODES and (doubt := find_doubt(scores, floor)):
        yield {"fault": doubt}


def _tour_faults(task_id: str, episodes: StoredTrajectory, gaps: list[float]) -> Iterator[Fault]:
    for episode in episodes:
        gaps.append(float(episode.provenance["certified_gap"]))
        for problem in verify_episode(episode, task_id):
            yield {"fault": problem.removeprefix(f"{task_id}, ")}


def _round_trip_faults(stores: Stores, experiment: Experiment, task_id: str) -> Iterator[Fault]:
    text, vocabulary = read_tokenizer(stores, experiment)
    tokens, episodes = stores.tokens.read(task_id), stores.trajectories.read(task_id)
    kept = FilteredEpisodes(episodes, tokens.manifest.recipe.get("minimum_return_share", 0.0)).places
    layout = StepLayout.from_json(tokens.layout)
    if len(kept) != len(tokens):
        yield {"fault": f"{len(tokens)} tokenized episodes of {len(kept)}"}
    for place in sorted(set(np.linspace(0, min(len(tokens), len(kept)) - 1, _EPISODES_LOOKED_AT, dtype=int).tolist())):
        (observations, actions), (stored, stored_images) = episodes.steps(int(kept[place])), tokens.steps(place)
        again, images = encode_steps(observations, actions, layout, text, vocabulary)
        if not np.array_equal(again, stored):
            yield {"fault": f"episode {place} has other tokens when it is encoded again"}
        if images is not None and (stored_images is None or not np.array_equal(images, stored_images)):
            yield {"fault": f"episode {place} has other images when it is encoded again"}
        back = decode_action_tokens(stored[:, -layout.action_tokens :], layout, text, vocabulary)
        if layout.action_kind in ("text", "document"):
            is_whole = stored[:, -1] == 0 if layout.action_kind == "text" else np.ones(1, bool)
            if (back[is_whole] != actions[is_whole]).any():
                yield {"fault": f"episode {place} has a text that comes back otherwise"}
            continue
        half_bin = 0.0 if layout.action_kind == "discrete" else 1.0 / vocabulary.num_bins
        worst = float(np.abs(back - actions).max())
        if worst > half_bin + 1e-6:
            yield {"fault": f"episode {place} has an action that comes back {worst:.3g} off, expected {half_bin:.3g}"}


def _score_faults(episodes: StoredTrajectory) -> Iterator[Fault]:
    returns, asked = episodes.total_returns, episodes.manifest.recipe["num_episodes"]
    if len(returns) != asked:
        yield {"fault": f"{len(returns)} episodes, expected {asked}"}
    if not np.isfinite(returns).all():
        yield {"fault": f"{int((~np.isfinite(returns)).sum())} returns are not finite"}
