from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from storage.disk_cache import DiskCache
from storage.locations import Locations
from storage.remote import open_filesystem
from storage.trajectories import TrajectoryStore
from tasks.exchange import importing, language
from tasks.exchange.foreign import refuse
from tasks.registry import get_task

FORMATS = (*importing.FORMATS, *language.FORMATS)
LAYOUT = "FAMILY/NAME/FORMAT/FILE"

_ANCHORS = {"minari": "metadata.json", "d4rl": "*.hdf5"}
"""The one file by which a format's importer finds the others; those that are not here take the whole folder."""

_STAMPS = ("ETag", "md5Hash", "mtime", "LastModified", "updated", "created")
"""What file systems call that by which a file's content shows to be another one, the surest first."""


@dataclass(frozen=True)
class Drop:
    """A folder of the inbox: somebody's data for a task.

    Args:
        task: Id of the task.
        format: The format of its files.
        source: The folder, a path or a URL.
        files: Paths of its files below it.
        fingerprint: Digest of the names, sizes and times or tags of the files; nothing of them is read.
    """

    task: str
    format: str
    source: str
    files: tuple[str, ...]
    fingerprint: str

    @property
    def name(self) -> str:
        """Where it lies in the inbox."""
        return f"{self.task}/{self.format}"


def list_drops(inbox: str) -> tuple[list[Drop], dict[str, str]]:
    """Look into an inbox, whose files lie in ``FAMILY/NAME/FORMAT/``; what begins with a dot is left out.

    Args:
        inbox: A folder, or a URL that fsspec knows.

    Returns:
        What can be imported, and by its folder why other things cannot.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    system, root = open_filesystem(inbox)
    system.invalidate_cache()
    if isinstance(system, LocalFileSystem) and not system.isdir(root):
        raise FileNotFoundError(f"there is no inbox {inbox}; make it, or name another one in DB1_INBOX")
    folders: dict[str, dict[str, Mapping[str, Any]]] = {}
    found = dict(system.find(root, detail=True))
    for path, info in sorted(found.items()):
        parts = PurePosixPath(path.removeprefix(root.rstrip("/"))).parts[1:]
        if not any(part.startswith(".") for part in parts):
            folders.setdefault("/".join(parts[:-1][:3]), {})["/".join(parts[3:])] = info
    drops, faults = [], {}
    for folder, files in folders.items():
        if fault := _find_fault(folder):
            faults[folder or "."] = fault
        else:
            task, _, format = folder.rpartition("/")
            source = f"{inbox.rstrip('/')}/{folder}"
            drops.append(Drop(task, format, source, tuple(files), _fingerprint(files)))
    return drops, faults


def import_drop(drop: Drop, locations: Locations, *, num_processes: int = 1) -> importing.Import:
    """Store what was dropped as the task's trajectories, in the place of those that were there.

    Files in an object store are copied below ``DB1_CACHE`` where their format cannot be read from afar.

    Args:
        drop: What lies in the inbox.
        locations: Where trajectories are stored.
        num_processes: Processes that play random and the floor.

    Raises:
        ValueError: If it cannot be read, or is not of the task. What was stored before stays.
        ModuleNotFoundError: If a package is not installed.
    """
    task = get_task(drop.task)
    if drop.format in language.FORMATS:
        how: dict[str, Any] = {"format": drop.format, "replace": True, "num_processes": num_processes}
        return language.import_language(task, drop.source, locations, **how)
    return importing.import_episodes(
        task,
        str(_take(drop)),
        TrajectoryStore(locations.trajectories),
        format=drop.format,
        replace=True,
        num_processes=num_processes,
    )


def _find_fault(folder: str) -> str:
    if folder.count("/") != 2:
        return f"files lie here; expected them in {LAYOUT}"
    task, _, format = folder.rpartition("/")
    if format not in FORMATS:
        return f"unknown format {format!r}; expected {LAYOUT} with one of {', '.join(FORMATS)}"
    try:
        get_task(task)
    except ValueError as error:
        return str(error).splitlines()[0]
    return ""


def _fingerprint(files: Mapping[str, Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for name, info in files.items():
        stamp = next((info[key] for key in _STAMPS if info.get(key)), "")
        digest.update(f"{name}\0{info['size']}\0{stamp}\n".encode())
    return digest.hexdigest()


def _take(drop: Drop) -> Path:
    """Return the file or folder of this machine that the format's importer reads."""
    system, root = open_filesystem(drop.source)
    folder = Path(root)
    if not isinstance(system, LocalFileSystem):
        folder = DiskCache.from_environment().folder / "inbox" / drop.name
        _copy(system, root, drop.files, folder)
    if (anchor := _ANCHORS.get(drop.format)) is None:
        return folder
    found = [name for name in drop.files if PurePosixPath(name).match(anchor)]
    if len(found) != 1:
        refuse(drop.source, f"{len(found)} files {anchor}", "one", "leave one there, with what belongs to it")
    return folder / found[0] if drop.format == "d4rl" else (folder / found[0]).parent


def _copy(system: Any, root: str, files: Iterable[str], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(f"{root.rstrip('/')}/{name}", str(target))
