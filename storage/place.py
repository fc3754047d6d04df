from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from storage.manifest import Manifest, StoredFile, size_fault

Fill = Callable[[Path], Mapping[str, Any]]
Seal = Callable[[Sequence[StoredFile], Mapping[str, Any], str], Manifest]
Check = Literal["sizes", "digests"]

DATA = re.compile(r"[0-9a-f]{16}(-again|-[0-9a-f]{8})?")
"""Name of a folder of data: the beginning of the key, and what tells it from another one of the same key."""


@dataclass(frozen=True)
class Entry:
    """A file as its folder lists it.

    Args:
        bytes: Its size.
        tag: What an object store calls its content; empty on a disk.
        modified: When it was written.
    """

    bytes: int
    tag: str
    modified: datetime


@dataclass(frozen=True)
class Stray:
    """Something below a stored thing that no manifest refers to.

    Args:
        name: Path below the place of the thing.
        bytes: Size of all files in it.
        reason: What it is.
    """

    name: str
    bytes: int
    reason: str


class Place(ABC):
    """Where a stored thing lies, on a disk or in an object store: its manifest, and below it the folder of its data."""

    is_remote: bool
    """Whether the files are copied to this machine before they are read."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder on this machine: the thing's own, or what this machine keeps beside a thing elsewhere."""

    @abstractmethod
    def data_folder(self, manifest: Manifest) -> Path:
        """Return the folder on this machine in which the files lie that were handed out."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Return the names of the folders directly in it."""

    @abstractmethod
    def locate(self, name: str = "") -> str:
        """Return the path or the URL of something in it, for people."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: If there is none.
        """

    @abstractmethod
    def entries(self, folder: str) -> dict[str, Entry]:
        """Return all files below a folder (all of the thing when empty) by their paths below it."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file as it lies there, as hexadecimal digits.

        Raises:
            FileNotFoundError: If there is none.
        """

    @abstractmethod
    def hand_out(self, manifest: Manifest, file: StoredFile, *, first: bool) -> Path:
        """Return where a sound file lies on this machine.

        Args:
            manifest: Of the thing.
            file: One of its files.
            first: Whether this process has not compared the file with its digest yet.

        Raises:
            FileError: If it is missing or damaged.
        """

    @abstractmethod
    def hold(
        self, manifest: Manifest, files: Sequence[StoredFile], *, first: Container[str]
    ) -> AbstractContextManager[list[Path]]:
        """Hand files out, and keep them where they are as long as the context lasts.

        Args:
            manifest: Of the thing.
            files: Some of its files.
            first: Paths of those that this process has not compared with their digest yet.

        Raises:
            FileError: If one is missing or damaged, at the beginning or at the end.
        """

    @abstractmethod
    def replace(self, key: str, fill: Fill, seal: Seal) -> Manifest:
        """Put a new thing in the place of what is there; whatever happens, the old one or the new one is there after.

        Args:
            key: Digest of the recipe.
            fill: Writes the files into an empty folder on this machine, and returns the metadata.
            seal: Makes the manifest of the files, the metadata and the name of the folder of the data.
        """

    @abstractmethod
    def strays(self, *, min_age_s: float, remove: bool) -> list[Stray]:
        """Return what lies here and no manifest refers to, and remove it if asked to.

        Args:
            min_age_s: How long ago an object store must have got something whose writer cannot be seen.
            remove: Whether it is removed.
        """

    def is_busy(self) -> bool:
        """Return whether a writer is seen to be at work here."""
        return False

    def faults(self, manifest: Manifest, *, check: Check) -> dict[str, str]:
        """Return what is wrong with the files as they lie there, by their paths; a file whose tag holds is not read."""
        found, faults = self.entries(manifest.folder), {}
        for file in manifest.files:
            entry = found.get(file.path)
            tagged = entry is not None and file.tag != "" and entry.tag == file.tag
            if fault := self.file_fault(manifest, file, entry, check="sizes" if tagged else check):
                faults[file.path] = fault
        return faults

    def file_fault(self, manifest: Manifest, file: StoredFile, entry: Entry | None, *, check: Check) -> str | None:
        """Return what is wrong with one file as it lies there; None when it is right."""
        where = self.locate(f"{manifest.folder}/{file.path}".lstrip("/"))
        if fault := size_fault(where, entry and entry.bytes, file):
            return fault
        if check == "digests":
            try:
                return digest_fault(where, self.digest(f"{manifest.folder}/{file.path}".lstrip("/")), file)
            except FileNotFoundError:
                return size_fault(where, None, file)
        return None


class FileError(Exception):
    """A file of a stored thing is missing or damaged; who knows the thing makes it a ``ManifestError``."""


def digest_fault(where: str, sha256: str, file: StoredFile) -> str | None:
    """Return what is wrong with a file of this digest; None when it is right."""
    if sha256 == file.sha256:
        return None
    return f"{where} is corrupt (its SHA-256 is {sha256[:12]}..., expected {file.sha256[:12]}...)"
