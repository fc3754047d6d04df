from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from assets.facts import describe_thing
from assets.materialization import find_making
from assets.partitions import PARTITIONED_STAGES
from assets.resources import Stores
from storage.folder import StoredFolder, stored_names
from storage.inventory import SHELVES, Shelf
from storage.manifest import Manifest, ManifestError

_SHELVES: Mapping[str, Shelf] = {shelf.folder: shelf for shelf in SHELVES}
_FOLDERS = {"checkpoint": "checkpoints", "shards": "shards/_index", "champion": "champions"}
TRACED = (*PARTITIONED_STAGES, "catalogue", "tokenizer", "shards", "checkpoint", "champion", "report")
"""Stages that a trace can begin with."""


@dataclass(frozen=True)
class Link:
    """Something stored on the way back from a score, or the place where the way is broken.

    Args:
        shelf: Folder of its kind below the data root.
        name: Task id, or the name of the thing.
        digest: The one that was used; of what a trace begins with, the present one.
        manifest: Its manifest; None where the link is broken.
        fault: Why it is broken; empty where it holds.
        made_at: When its manifest was written.
        facts: What is worth knowing of it, as JSON values.
        inputs: What it was made from.
    """

    shelf: str
    name: str
    digest: str
    manifest: Manifest | None
    fault: str = ""
    made_at: datetime | None = None
    facts: Mapping[str, Any] | None = None
    inputs: tuple[Link, ...] = ()

    def faults(self) -> Iterator[Link]:
        """Yield the broken links from here on, in their order; one may come twice."""
        if self.fault:
            yield self
        for link in self.inputs:
            yield from link.faults()

    def to_json(self) -> dict[str, Any]:
        """Return it and all that it was made from; what comes a second time is only named."""
        return _to_json(self, set())


class Trace:
    """Walks from a stored thing to all that it was made from, by digest.

    A store keeps the present thing alone: where that has another digest than the one that was used, the way ends.

    Args:
        stores: What is on disk.
        experiment: Whose tokenizer, shards, checkpoint and report are looked at first.
        task: The task of which all is told; of others only whether their links hold.
        instance: Dagster's records, which say with what code something was made and what it cost; None for none.
    """

    def __init__(
        self, stores: Stores, experiment: str, *, task: str = "", instance: dg.DagsterInstance | None = None
    ) -> None:
        self.stores, self.experiment, self.task, self.instance = stores, experiment, task, instance
        self._known: dict[tuple[str, str, str], Link] = {}

    def begin(self, stage: str) -> Link:
        """Return what a stage has stored of the experiment or of the task, with its way back.

        Args:
            stage: One of ``TRACED``.

        Raises:
            ManifestError: If it is not there.
            ValueError: If the stage is another, or one of tasks and no task is given.
        """
        if stage not in TRACED:
            raise ValueError(f"unknown stage {stage!r}; expected one of {', '.join(TRACED)}")
        if stage in PARTITIONED_STAGES and not self.task:
            raise ValueError(f"{stage} is stored task by task; name one with --task, such as --task tsp/tsp100-city-0")
        shelf = _SHELVES[_FOLDERS.get(stage, stage)]
        name = self.task if stage in PARTITIONED_STAGES else self.experiment
        try:
            present = self._folder(shelf, name).read_manifest()
        except ManifestError as error:
            raise ManifestError(shelf.made_as, name, error.fault) from None
        return self._follow(shelf.folder, present.digest, name)

    def follow_shards(self, digest: str, name: str) -> Link:
        """Return the link to an index of shards, by its digest.

        Args:
            digest: Of the index that was used.
            name: The experiment whose index is looked at first.
        """
        return self._follow("shards/_index", digest, name)

    def _follow(
        self, shelf: str, digest: str, name: str, *, used: Callable[[Manifest], Any] = lambda manifest: manifest.digest
    ) -> Link:
        """Return the link to what had this digest when it was used."""
        key = shelf, name, digest
        if key not in self._known:
            self._known[key] = self._look(_SHELVES[shelf], digest, name, used)
        return self._known[key]

    def _look(self, shelf: Shelf, digest: str, name: str, used: Callable[[Manifest], Any]) -> Link:
        fault = ""
        for candidate in self._candidates(shelf, name):
            folder = self._folder(shelf, candidate)
            try:
                manifest = folder.read_manifest()
            except ManifestError as error:
                fault = fault or error.fault
                continue
            if used(manifest) == digest:
                facts = describe_thing(self.stores, shelf, manifest, task=self.task)
                return Link(
                    shelf=shelf.folder,
                    name=candidate,
                    digest=manifest.digest,
                    manifest=manifest,
                    made_at=folder.made_at,
                    facts=facts | self._recorded(shelf, manifest),
                    inputs=tuple(self._inputs(shelf.folder, manifest)),
                )
            fault = fault or f"what lies there now is {used(manifest)[:12]}"
        return Link(shelf.folder, name, digest, None, fault or "it is not there any more")

    def _candidates(self, shelf: Shelf, name: str) -> Iterable[str]:
        """Yield the names under which it may lie: things of experiments are found under any name."""
        yield name
        if shelf.folder in ("tokenizer", "checkpoints", "shards/_index"):
            yield from (other for other in stored_names(f"{self.stores.root}/{shelf.folder}") if other != name)

    def _inputs(self, shelf: str, manifest: Manifest) -> Iterator[Link]:
        recipe, name = manifest.recipe, manifest.name
        match shelf:
            case "report":
                yield self._follow("checkpoints", recipe["checkpoint"], self.experiment)
                yield from self._of_tasks("evaluation", recipe["evaluations"])
                if "champion" in recipe:
                    yield self._follow("champions", recipe["champion"], self.experiment)
            case "champions":
                serves = recipe["decision"]["serves"]
                kept = f"{name}/{serves[:12]}"
                yield self._follow(
                    "champions/_kept", serves, kept, used=lambda found: found.metadata.get("checkpoint", "")
                )
            case "champions/_kept":
                yield from self._of_tasks("evaluation", recipe["evaluations"])
                if "shards" in recipe:
                    yield self._follow("shards/_index", recipe["shards"], self.experiment)
            case "evaluation":
                yield self._follow("checkpoints", recipe["checkpoint"], self.experiment)
                yield self._follow("trajectories", recipe["trajectories"], name)
            case "checkpoints" if "shards" in recipe:
                yield self._follow("shards/_index", recipe["shards"], name)
            case "shards/_index":
                yield from self._of_tasks("shards", recipe["shards"])
            case "shards":
                yield self._follow("tokens", recipe["tokens"], name)
            case "tokens":
                wanted = recipe["vocabulary"]["tokenizer_digest"]
                yield self._follow(
                    "tokenizer", wanted, self.experiment, used=lambda found: found.metadata.get("tokenizer_digest", "")
                )
                yield self._follow("trajectories", recipe["trajectories"], name)
            case "catalogue":
                there = {task: digest for task, digest in recipe["trajectories"].items() if digest}
                yield from self._of_tasks("trajectories", there)
            case "trajectories" if "specialist" in recipe:
                yield self._follow("specialists", recipe["specialist"], name)

    def _of_tasks(self, shelf: str, digests: Mapping[str, str]) -> Iterator[Link]:
        for task in sorted(digests, key=lambda one: (one != self.task, one)):
            yield self._follow(shelf, digests[task], task)

    def _folder(self, shelf: Shelf, name: str) -> StoredFolder:
        return StoredFolder(f"{self.stores.root}/{shelf.folder}", shelf.kind, name)

    def _recorded(self, shelf: Shelf, manifest: Manifest) -> dict[str, Any]:
        is_other = "/" in manifest.name and self.task not in ("", manifest.name)
        if self.instance is None or shelf.folder == "shards" or is_other:
            return {}
        stage = {folder: stage for stage, folder in _FOLDERS.items()}.get(shelf.folder, shelf.folder)
        if stage not in PARTITIONED_STAGES:
            return find_making(self.instance, [stage], manifest.digest)
        family = manifest.name.split("/")[0]
        return find_making(self.instance, [stage, family], manifest.digest, task=manifest.name)


def _to_json(link: Link, seen: set[int]) -> dict[str, Any]:
    named = {"stored": link.shelf, "name": link.name, "digest": link.digest}
    if id(link) in seen:
        return named
    seen.add(id(link))
    if link.fault:
        return named | {"fault": link.fault}
    return named | {
        "made_at": link.made_at and link.made_at.isoformat(timespec="seconds"),
        "facts": link.facts,
        "inputs": [_to_json(one, seen) for one in link.inputs],
    }
