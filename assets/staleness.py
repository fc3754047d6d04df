from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assets.catalogue import catalogue_recipe
from assets.checkpoint import checkpoint_folder
from assets.contest import champions_of, is_decided, read_challenger
from assets.differences import compare_recipes
from assets.evaluation import evaluation_recipe
from assets.report import report_folder, report_recipe
from assets.resources import Experiment, Stores
from assets.selection import trained_tasks
from assets.shards import index_recipe, shards_recipe
from assets.tokens import sentences_of, tokenizer_folder, tokenizer_recipe, tokens_recipe
from assets.trajectories import choose_expert
from assets.warm_start import choose_start
from db1_model.train import training_recipe
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.manifest import Manifest, ManifestError, canonical_json
from tasks.exchange.importing import ImportedEpisodesError, find_imported
from tasks.registry import get_task
from tasks.specialists.expert import find_specialist, specialist_recipe

Recipe = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Finding:
    """Something that an experiment would make, or make anew.

    Args:
        stage: The stage.
        name: Task id, or the name of the experiment.
        state: ``missing``; ``damaged``; ``out of date``: made otherwise than now; ``waiting``: what it is made from
            will be made anew.
        reasons: Why, in words.
        details: The same as JSON values, with both digests where data differ.
    """

    stage: str
    name: str
    state: Literal["missing", "damaged", "out of date", "waiting"]
    reasons: tuple[str, ...] = ()
    details: tuple[Mapping[str, Any], ...] = ()

    @property
    def asset(self) -> str:
        """Key of the asset that makes it."""
        return f"{self.stage}/{self.name.split('/')[0]}" if "/" in self.name and self.stage != "shards" else self.stage


class Survey:
    """Compares all that an experiment has stored with the recipes that it would be made from now.

    Sizes of files are looked at, their content is not; ``storage.doctor`` reads that.

    Args:
        stores: What is on disk.
        experiment: What is made.
        read_sentences: Whether to read all sentences that the tokenizer learns from, as making it does; it takes a
            minute where there are texts. If not, a tokenizer counts as learnt from the present ones.

    Attributes:
        findings: What ``run`` returned.
        digests: Of what is stored, by stage and name, as far as it can be read.
    """

    def __init__(self, stores: Stores, experiment: Experiment, *, read_sentences: bool = True) -> None:
        self.stores, self.experiment, self.read_sentences = stores, experiment, read_sentences
        self.findings: list[Finding] = []
        self.digests: dict[tuple[str, str], str] = {}
        self._faulty: set[tuple[str, str]] = set()

    def run(self) -> list[Finding]:
        """Return what is missing or out of date, in the order of the data; nothing when all is fresh."""
        experiment, name = self.experiment, self.experiment.name
        for task_id in experiment.task_ids:
            if get_task(task_id).recipe:
                self._look_at_specialist(task_id)
        for task_id in experiment.task_ids:
            self._look_at_trajectories(task_id)
        made_from = [("trajectories", task_id) for task_id in experiment.task_ids]
        there = StoredFolder(self.stores.locations.catalogue, "catalogue", name)
        self._look("catalogue", there, made_from, lambda: catalogue_recipe(self.stores, experiment))
        own = [("trajectories", task_id) for task_id in experiment.task_ids if get_task(task_id).is_own]
        self._look("tokenizer", tokenizer_folder(self.stores, experiment), own, self._tokenizer_recipe)
        try:
            tasks = trained_tasks(self.stores, experiment)
        except ValueError as error:
            self._add(Finding("tokens", name, "missing", (str(error).splitlines()[0],)))
            return self.findings
        self._look_at_data(tasks)
        self._look_at_model(tasks)
        return self.findings

    def _look_at_specialist(self, task_id: str) -> None:
        task, share = get_task(task_id), self.experiment.specialist_share
        folder = StoredFolder(self.stores.locations.specialists, "specialist", task_id)
        if found := find_specialist(folder, task, share=share):
            self.digests["specialists", task_id] = found.digest
        else:
            self._look("specialists", folder, (), lambda: specialist_recipe(task, share))

    def _look_at_trajectories(self, task_id: str) -> None:
        task, store = get_task(task_id), self.stores.trajectories
        folder = StoredFolder(store.root, "trajectories", task_id)
        try:
            if not self.experiment.replace_imported and (imported := find_imported(task, store)):
                self.digests["trajectories", task_id] = imported.digest
                return
        except ImportedEpisodesError as error:
            self._add(Finding("trajectories", task_id, "out of date", (str(error).splitlines()[0],)))
            return
        made_from = [("specialists", task_id)] if task.recipe else []
        self._look("trajectories", folder, made_from, lambda: choose_expert(task, self.stores, self.experiment)[1])

    def _look_at_data(self, tasks: Sequence[str]) -> None:
        stores, experiment, name = self.stores, self.experiment, self.experiment.name

        def of_tokens(task_id: str) -> Mapping[str, Any]:
            return tokens_recipe(stores.trajectories.read(task_id), self._vocabulary(), experiment)

        for task_id in tasks:
            folder = StoredFolder(stores.tokens.root, "tokens", task_id)
            made_from = [("tokenizer", name), ("trajectories", task_id)]
            self._look("tokens", folder, made_from, lambda task_id=task_id: of_tokens(task_id))
        folders = {task_id: StoredFolder(stores.shards.root, "shards", task_id) for task_id in tasks}
        for task_id, folder in folders.items():
            tokens = StoredFolder(stores.tokens.root, "tokens", task_id)
            recipe = lambda tokens=tokens: shards_recipe(tokens.read_manifest(), experiment)  # noqa: E731
            self._look("shards", folder, [("tokens", task_id)], recipe)
        index = StoredFolder(f"{stores.shards.root}/_index", "shard-index", name)
        of_index = lambda: index_recipe({key: folder.read_manifest() for key, folder in folders.items()})  # noqa: E731
        self._look("shards", index, [("shards", task_id) for task_id in tasks], of_index)

    def _look_at_model(self, tasks: Sequence[str]) -> None:
        stores, experiment, name = self.stores, self.experiment, self.experiment.name
        checkpoint = checkpoint_folder(stores, experiment)

        def of_checkpoint() -> Mapping[str, Any]:
            index = stores.shards.read(name)
            return training_recipe(choose_start(stores, experiment, index), index)

        self._look("checkpoint", checkpoint, [("shards", name)], of_checkpoint)

        def of_evaluation(task_id: str) -> Mapping[str, Any]:
            reference = stores.trajectories.read(task_id).manifest
            return evaluation_recipe(get_task(task_id), experiment, checkpoint.read_manifest(), reference)

        folders = {task_id: StoredFolder(stores.evaluation.root, "trajectories", task_id) for task_id in tasks}
        for task_id, folder in folders.items():
            made_from = [("checkpoint", name), ("trajectories", task_id)]
            self._look("evaluation", folder, made_from, lambda task_id=task_id: of_evaluation(task_id))

        made_from = [("checkpoint", name), *(("evaluation", task_id) for task_id in tasks)]
        self._look_at_champion(made_from)

        def of_report() -> Mapping[str, Any]:
            evaluations = {task_id: stores.evaluation.read(task_id) for task_id in tasks}
            return report_recipe(checkpoint.read_manifest(), evaluations, champions_of(stores).record(name))

        self._look("report", report_folder(stores, experiment), [*made_from, ("champion", name)], of_report)

    def _look_at_champion(self, made_from: Iterable[tuple[str, str]]) -> None:
        """Ask whether it was decided about the checkpoint, since no recipe tells that."""
        record = champions_of(self.stores).record(self.experiment.name)
        if (manifest := self._read("champion", record, made_from)) is None:
            return
        challenger = read_challenger(self.stores, self.experiment)
        if not is_decided(self.stores, self.experiment, challenger):
            reason = f"checkpoint {challenger.digest[:12]}, as it is evaluated now, has not met the champion"
            self._add(Finding("champion", manifest.name, "out of date", (reason,)))

    def _look(self, stage: str, folder: StoredFolder, made_from: Iterable[tuple[str, str]], recipe: Recipe) -> None:
        """Compare one stored thing with its recipe, unless what it is made from has to be made first."""
        if (manifest := self._read(stage, folder, made_from)) is None:
            return
        wanted = json.loads(canonical_json(dict(recipe())))
        if differences := compare_recipes(manifest.recipe, wanted):
            details = tuple(vars(one) for one in differences)
            self._add(Finding(stage, folder.name, "out of date", tuple(map(str, differences)), details))

    def _read(self, stage: str, folder: StoredFolder, made_from: Iterable[tuple[str, str]]) -> Manifest | None:
        """Return the manifest of a thing that is whole, and that waits for nothing."""
        before = dict.fromkeys(stage for stage, name in made_from if (stage, name) in self._faulty)
        try:
            manifest = folder.read_manifest()
        except ManifestError as error:
            self._add(Finding(stage, folder.name, "damaged" if folder.exists else "missing", _told(folder, error)))
            return None
        self.digests[stage, folder.name] = manifest.digest
        if before:
            waits = tuple(f"its {stage} will be made first" for stage in before)
            self._add(Finding(stage, folder.name, "waiting", waits))
            return None
        for fault in folder.place.faults(manifest, check="sizes").values():
            self._add(Finding(stage, folder.name, "damaged", (fault,)))
            return None
        return manifest

    def _add(self, finding: Finding) -> None:
        self.findings.append(finding)
        self._faulty.add((finding.stage, finding.name))

    def _tokenizer_recipe(self) -> Mapping[str, Any]:
        if self.read_sentences:
            return tokenizer_recipe(self.experiment, sentences_of(self.stores, self.experiment))
        stored = tokenizer_folder(self.stores, self.experiment).read_manifest().recipe
        learnt_from = {key: stored[key] for key in ("num_sentences", "sentences")}
        return tokenizer_recipe(self.experiment, []) | learnt_from

    def _vocabulary(self) -> Vocabulary:
        manifest = tokenizer_folder(self.stores, self.experiment).read_manifest()
        return Vocabulary.of(self.experiment.model, manifest.metadata["tokenizer_digest"])


def _told(folder: StoredFolder, error: ManifestError) -> tuple[str, ...]:
    return (error.fault,) if folder.exists else ()
