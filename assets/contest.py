from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from assets.checkpoint import checkpoint_folder
from assets.evaluation import judge_evaluation, read_evaluation
from assets.games import Match, recall
from assets.resources import Experiment, Progress, Stores
from assets.selection import trained_tasks
from assets.tokens import tokenizer_folder
from storage.champions import SCORES, WITHDRAWN, ChampionStore, Decision, History
from storage.folder import StoredFiles
from storage.manifest import Manifest, ManifestError, recipe_key
from tasks.contest import Contest, Rules, TaskReturns
from tasks.looks import hold

CODE_VERSION = "2"
_RULES_BEFORE_LOOKS = {"more_looks": 0}  # by which older decisions fell


@dataclass(frozen=True)
class Challenger:
    """The newest checkpoint of an experiment, evaluated in all of its tasks.

    Args:
        checkpoint: Its files.
        tokenizer: The text tokenizer that it was trained with.
        results: What it did, by task.
    """

    checkpoint: StoredFiles
    tokenizer: StoredFiles
    results: tuple[TaskReturns, ...]

    @property
    def digest(self) -> str:
        """Digest of the checkpoint."""
        return self.checkpoint.manifest.digest

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The results as JSON values."""
        return [asdict(one) | {"seeds": list(one.seeds)} for one in self.results]


def champions_of(stores: Stores) -> ChampionStore:
    """Return where the champions are kept."""
    return ChampionStore(stores.locations.champions)


def read_challenger(stores: Stores, experiment: Experiment) -> Challenger:
    """Open the newest checkpoint, and what it did.

    Raises:
        ManifestError: If it or an evaluation is missing or damaged, or an evaluation is of another checkpoint.
    """
    checkpoint = checkpoint_folder(stores, experiment).open()
    results = [_read_result(stores, task_id, checkpoint.manifest) for task_id in trained_tasks(stores, experiment)]
    return Challenger(checkpoint, tokenizer_folder(stores, experiment).open(), tuple(results))


def read_results(champion: StoredFiles) -> list[TaskReturns]:
    """Return what a champion did, as it was when it was kept."""
    return [TaskReturns(**row) for row in json.loads(champion.path(SCORES).read_bytes())]


def find_decision(stores: Stores, experiment: Experiment, challenger: Challenger) -> Manifest | None:
    """Return the record when it already holds the decision about this challenger, otherwise None.

    Of a checkpoint that serves, what is kept is made anew when it is damaged, or when the evaluations are newer.
    """
    store = champions_of(stores)
    if store.read(experiment.name).serving == challenger.digest:
        store.keep(experiment.name, challenger.checkpoint, challenger.tokenizer, challenger.scores)
        return store.record(experiment.name).read()
    return store.record(experiment.name).read() if is_decided(stores, experiment, challenger) else None


def is_decided(stores: Stores, experiment: Experiment, challenger: Challenger) -> bool:
    """Say whether a challenger serves, or has met the present champion under the same rules; nothing is changed."""
    store = champions_of(stores)
    history = store.read(experiment.name)
    if history.serving == challenger.digest or not history.line:
        return bool(history.line)
    key = _key(experiment, challenger, _open_serving(store, experiment))
    return any(decision.key == key for decision in history.decisions)


def decide(stores: Stores, experiment: Experiment, challenger: Challenger, progress: Progress) -> Manifest:
    """Compare a challenger with the champion that serves, let the better one serve, and record why.

    Where their evaluations do not tell, both play on; a run that is stopped meanwhile finds what was played.
    """
    store = champions_of(stores)
    history = store.read(experiment.name)
    decision = _judge(stores, experiment, challenger, history, progress)
    if decision.serves == challenger.digest:
        store.keep(experiment.name, challenger.checkpoint, challenger.tokenizer, challenger.scores)
    return store.decide(experiment.name, decision, keep=experiment.keep_champions)


def crown(stores: Stores, experiment: Experiment, reason: str) -> Manifest:
    """Let the newest checkpoint serve because a person says so, whatever its scores.

    Args:
        stores: What is on disk.
        experiment: Whose checkpoint.
        reason: Why, for the history.

    Raises:
        ManifestError: If the checkpoint or one of its evaluations is missing or damaged.
    """
    store, challenger = champions_of(stores), read_challenger(stores, experiment)
    decision = Decision("crowned", challenger.digest, store.read(experiment.name).serving, challenger.digest, reason)
    store.keep(experiment.name, challenger.checkpoint, challenger.tokenizer, challenger.scores)
    return store.decide(experiment.name, decision, keep=experiment.keep_champions)


def contest_again(stores: Stores, experiment: Experiment, decision: Decision) -> Contest | None:
    """Repeat the contest behind a promotion from what is kept of both; None when the old champion is kept no more."""
    store = champions_of(stores)
    before = store.kept(experiment.name, decision.champion)
    if decision.contest is None or not before.exists:
        return None
    play_on = partial(recall, stores, experiment, (decision.challenger, decision.champion))
    rules = Rules.from_json(_RULES_BEFORE_LOOKS | decision.contest["rules"])
    return hold(read_results(store.open(experiment.name)), read_results(before.open()), rules, play_on)


def _judge(
    stores: Stores, experiment: Experiment, challenger: Challenger, history: History, progress: Progress
) -> Decision:
    digest, serving = challenger.digest, history.serving
    if not serving:
        return Decision("first", digest, "", digest, "the first checkpoint that was evaluated serves without a contest")
    champion = _open_serving(champions_of(stores), experiment)
    key = _key(experiment, challenger, champion)
    if history.was_withdrawn(digest):
        why = next(one.reason for one in reversed(history.decisions) if one.outcome == WITHDRAWN)
        return Decision("kept", digest, serving, serving, f"the challenger has served and was rolled back: {why}", key)
    rules = experiment.rules
    match = Match(stores, experiment, progress, challenger.checkpoint.manifest, champion.manifest)
    contest = hold(challenger.results, read_results(champion), rules, match.play_on)
    cost = {"episodes": match.num_episodes, "cpu_seconds": round(match.cpu_s, 1)}
    numbers = {**contest.to_json(), "rules": asdict(rules), "played": cost}
    outcome, serves = ("promoted", digest) if contest.is_won else ("kept", serving)
    reason = "; ".join(filter(None, (contest.reason, match.fault)))
    return Decision(outcome, digest, serving, serves, reason, key, numbers)


def _key(experiment: Experiment, challenger: Challenger, champion: StoredFiles) -> str:
    return recipe_key(
        {
            "code_version": CODE_VERSION,
            "challenger": challenger.digest,
            "evaluations": {one.task: one.evaluation for one in challenger.results},
            "champion": champion.manifest.digest,
            "rules": asdict(experiment.rules),
        }
    )


def _open_serving(store: ChampionStore, experiment: Experiment) -> StoredFiles:
    try:
        return store.open(experiment.name)
    except ManifestError as error:
        raise ValueError(
            f"the champion of {experiment.name!r} cannot be read, so nothing is compared with it: {error.fault}; let "
            f"the one before it serve, or the newest checkpoint:\n  db1 rollback --experiment {experiment.name}\n"
            f"  db1 champion --experiment {experiment.name} --crown 'the old one is damaged'"
        ) from error


def _read_result(stores: Stores, task_id: str, checkpoint: Manifest) -> TaskReturns:
    manifest = read_evaluation(stores, task_id).manifest
    if (played_by := manifest.metadata["checkpoint"]) != checkpoint.digest:
        fault = f"it is of checkpoint {played_by[:12]}, expected {checkpoint.digest[:12]}"
        raise ManifestError("evaluation", task_id, fault)
    return _measure(manifest)


def share_at_half(results: Sequence[TaskReturns]) -> float:
    """Return the share of the tasks with a defined score that reach half of the expert's."""
    scores = [one.score for one in results if one.score is not None]
    return sum(score >= 0.5 for score in scores) / len(scores) if scores else 0.0


def reasons_to_train(stores: Stores, experiment: Experiment) -> dict[str, str]:
    """Return why an experiment's model is behind: tasks that its champion has not, or scores that fell below its own.

    Returns:
        What was found by ``new_tasks`` and ``share_at_half``, and beside these what it was found in; empty when all is
        well.

    Raises:
        ManifestError: If there is no champion or no evaluation yet, or one is damaged.
    """
    files = champions_of(stores).open(experiment.name)
    kept = {one.task: one for one in read_results(files)}
    tasks, reasons = trained_tasks(stores, experiment), {}
    if new := [task_id for task_id in tasks if task_id not in kept]:
        reasons["new_tasks"] = ", ".join(new)
    shared = [task_id for task_id in tasks if task_id in kept]
    newest = [_measure(read_evaluation(stores, task_id).manifest) for task_id in shared]
    before, now = share_at_half([kept[task_id] for task_id in shared]), share_at_half(newest)
    if now < before:
        reasons["share_at_half"] = f"{now:.4f}, the champion's is {before:.4f}"
    found_in = {
        "champion": files.manifest.digest,
        "evaluations": recipe_key({one.task: one.evaluation for one in newest}),
    }
    return {**reasons, **found_in} if reasons else {}


def _measure(manifest: Manifest) -> TaskReturns:
    verdict, facts = judge_evaluation(manifest), manifest.metadata
    version = str(manifest.recipe["task_code_version"])
    return TaskReturns(
        manifest.name, facts["returns"], facts["seeds"], verdict.floor, verdict.expert, version, manifest.digest
    )
