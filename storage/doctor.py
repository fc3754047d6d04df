from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storage.folder import StoredFolder
from storage.inventory import Thing
from storage.local import LOCK, RUNS
from storage.manifest import Manifest, ManifestError
from storage.place import Check, Stray
from storage.retention import MIN_AGE_S
from storage.shards import ShardStore
from storage.tokens import StoredTokens
from storage.trajectories import StoredTrajectory


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about something stored.

    Args:
        thing: What was looked at.
        manifest: Its manifest; None when there is none that can be read.
        faults: What is wrong, a line each; empty when it is sound.
        strays: What no manifest refers to.
    """

    thing: Thing
    manifest: Manifest | None
    faults: tuple[str, ...]
    strays: tuple[Stray, ...]

    @property
    def is_there(self) -> bool:
        """Whether something is stored, and not merely the place where a first write is at work or was stopped."""
        return self.manifest is not None or bool(self.faults)


def examine(thing: Thing, *, check: Check = "digests", advance: Callable[[int], None] = lambda _: None) -> Diagnosis:
    """Find out what is wrong with something stored: its manifest, every file, what is in them, what lies beside them.

    Args:
        thing: What to look at.
        check: ``digests`` reads every byte, ``sizes`` only looks.
        advance: Is told the size of each file in bytes when it was looked at.
    """
    folder = thing.folder
    strays = tuple(folder.place.strays(min_age_s=MIN_AGE_S, remove=False))
    try:
        manifest = folder.read_manifest()
    except ManifestError as error:
        rest = [name for name in folder.place.entries("") if name != LOCK and not name.startswith(f"{RUNS}/")]
        return Diagnosis(thing, None, (error.fault,) if rest and not folder.place.is_busy() else (), strays)
    faults = tuple(_faults(folder, manifest, check, advance))
    if faults and _was_replaced(folder, manifest):
        return examine(thing, check=check, advance=advance)
    return Diagnosis(thing, manifest, faults, strays)


def _faults(folder: StoredFolder, manifest: Manifest, check: Check, advance: Callable[[int], None]) -> Iterator[str]:
    entries, sound = folder.place.entries(manifest.folder), True
    for file in manifest.files:
        if fault := folder.place.file_fault(manifest, file, entries.get(file.path), check=check):
            sound = False
            yield fault
        advance(file.bytes)
    if sound and folder.kind in _CONTENTS:
        try:
            yield from _CONTENTS[folder.kind](folder)
        except ManifestError as error:
            yield error.fault
        except Exception as error:  # Whatever a file that is as it was written raises, it cannot be read.
            yield f"{folder.place.locate(manifest.folder)} cannot be read ({error!r:.200})"


def _was_replaced(folder: StoredFolder, manifest: Manifest) -> bool:
    try:
        return folder.read_manifest() != manifest
    except ManifestError:
        return False


def _check_trajectories(folder: StoredFolder) -> Iterator[str]:
    StoredTrajectory(folder.open()).check()
    yield from ()


def _check_tokens(folder: StoredFolder) -> Iterator[str]:
    StoredTokens(folder.open()).check()
    yield from ()


def _check_shards(folder: StoredFolder) -> Iterator[str]:
    task = ShardStore(folder.root).read_task(folder.name)
    counts = task.manifest.metadata
    found = {"num_episodes": len(task), "num_transitions": int(task.episode_lengths.sum())}
    found["num_shards"] = sum(file.path.endswith(".tar") for file in task.manifest.files)
    for count, number in found.items():
        if number != counts[count]:
            yield f"{folder.place.locate(task.manifest.folder)} has {count} {number}, expected {counts[count]}"


def _check_index(folder: StoredFolder) -> Iterator[str]:
    shards = folder.root.removesuffix("/_index")
    for entry in json.loads(folder.open().path("index.json").read_bytes()):
        task, expected = entry["task"], entry["digest"]
        try:
            found = StoredFolder(shards, "shards", task).read_manifest().digest
        except ManifestError as error:
            yield f"the shards of task {task!r} cannot be read: {error.fault}"
            continue
        if found != expected:
            yield (
                f"the shards of task {task!r} changed (their digest is {found[:12]}..., expected {expected[:12]}...)"
            )


_CONTENTS: dict[str, Callable[[StoredFolder], Iterator[str]]] = {
    "trajectories": _check_trajectories,
    "tokens": _check_tokens,
    "shards": _check_shards,
    "shard-index": _check_index,
}
