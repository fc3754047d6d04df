from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from storage.local import LocalPlace
from storage.manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestError,
    StoredFile,
    decode_manifest,
    make_manifest,
    recipe_key,
)
from storage.place import DATA, Check, FileError, Fill, Place
from storage.remote import RemotePlace

_TRIES = 10


class StoredFolder:
    """One stored thing: a folder that holds ``manifest.json`` and, below it, the folder of its data.

    Writing puts the whole thing in the place of the old one: a process that is killed at any moment, a full disk or a
    lost connection leaves the old thing or the new one, see ``storage.local``.

    Args:
        root: Where things of this kind lie.
        kind: The kind of thing, see ``Manifest``.
        name: Task id, or the name of the thing; each part between slashes is a folder.

    Raises:
        ValueError: If the name cannot be a path below the root.
    """

    def __init__(self, root: str | Path, kind: str, name: str) -> None:
        if not all(re.fullmatch(r"\w[\w.+=@-]*", part, re.ASCII) for part in name.split("/")):
            raise ValueError(
                f"{name!r} cannot name {kind}; expected parts of letters, digits and .+=@_- between slashes, such as "
                "'tsp/tsp100-1'"
            )
        self.root, self.kind, self.name = str(root), kind, name
        self.place = place_at(f"{root}/{name}")

    @property
    def path(self) -> Path:
        """The folder on this machine; of a thing in an object store, that of what this machine keeps beside it."""
        return self.place.path

    @property
    def exists(self) -> bool:
        """Whether there is a manifest, of whatever is there."""
        try:
            self.place.read(MANIFEST_NAME)
        except FileNotFoundError:
            return False
        return True

    def read(self) -> Manifest:
        """Return the manifest, after checking that every file is there in its full size.

        Raises:
            ManifestError: If the thing is missing, incomplete or damaged.
        """
        manifest = self.read_manifest()
        for fault in self.place.faults(manifest, check="sizes").values():
            raise ManifestError(self.kind, self.name, fault)
        return manifest

    @property
    def made_at(self) -> datetime:
        """When what is there was finished."""
        return self.place.entries("")[MANIFEST_NAME].modified

    def read_manifest(self) -> Manifest:
        """Return the manifest, whatever became of the files.

        Raises:
            ManifestError: If it is missing or damaged.
        """
        where = self.place.locate(MANIFEST_NAME)
        try:
            content = self.place.read(MANIFEST_NAME)
        except FileNotFoundError:
            raise ManifestError(self.kind, self.name, f"there is no {where}") from None
        return decode_manifest(content, kind=self.kind, name=self.name, where=where)

    def find(self, recipe: Mapping[str, Any], *, check: Check = "digests") -> Manifest | None:
        """Return the manifest when the thing is complete, sound and made from exactly this recipe, otherwise None.

        Args:
            recipe: What it is to be made from.
            check: ``digests`` reads every byte (about 1 GB/s a core), so that a damaged thing is made anew; what an
                object store says is as it was sent is not read. ``sizes`` only looks.
        """
        try:
            manifest = self.read_manifest()
        except ManifestError:
            return None
        if manifest.key != recipe_key(recipe) or self.place.faults(manifest, check=check):
            return None
        return manifest

    def open(self) -> StoredFiles:
        """Return the files for reading.

        Raises:
            ManifestError: If the thing is missing, incomplete or damaged.
        """
        return StoredFiles(self.place, self.read())

    def write(self, fill: Fill, *, recipe: Mapping[str, Any]) -> Manifest:
        """Make the thing, and put it in the place of what was there.

        Args:
            fill: Writes the files into the empty folder that it is given, and returns the metadata.
            recipe: What it is made from.

        Returns:
            The manifest of the new thing. If ``fill`` raises, the old thing stays.
        """

        def seal(files: Sequence[StoredFile], metadata: Mapping[str, Any], data: str) -> Manifest:
            whole = partial(make_manifest, kind=self.kind, name=self.name, recipe=recipe)
            return whole(metadata=metadata, files=files, data_folder=data)

        return self.place.replace(recipe_key(recipe), fill, seal)


class StoredFiles:
    """The files of a complete thing; each is compared with its digest before it is first read."""

    def __init__(self, place: Place | Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._place = LocalPlace(place) if isinstance(place, Path) else place
        self._files = {file.path: file for file in manifest.files}
        self._unchecked = set(self._files)

    @property
    def folder(self) -> Path:
        """The folder of all files; those of a thing in an object store are fetched first.

        Read only those for which ``path`` was asked, or after ``verify``.

        Raises:
            ManifestError: If a file to fetch is missing or damaged.
        """
        for name in self._files if self._place.is_remote else ():
            self.path(name)
        return self._place.data_folder(self.manifest)

    def path(self, name: str, *, check: Check = "digests") -> Path:
        """Return where a file lies, after comparing it with its digest the first time and with its size every time.

        Args:
            name: Of the file.
            check: ``sizes`` for a file whose parts have checksums of their own, which its reader looks at.

        Raises:
            ManifestError: If the file is missing, damaged or unknown to the manifest.
        """
        file = self._file(name)
        try:
            path = self._place.hand_out(self.manifest, file, first=check == "digests" and name in self._unchecked)
        except FileError as fault:
            raise self.error(str(fault)) from None
        if check == "digests":
            self._unchecked.discard(name)
        return path

    def read_part(self, name: str, at: int, size: int) -> bytes:
        """Return bytes ``at..at + size`` of a file whose parts have checksums of their own; fewer where it ends.

        Raises:
            ManifestError: If the file is missing, has another size, or leaves the cache as soon as it is there.
        """
        for _ in range(_TRIES):
            path = self.path(name, check="sizes")
            with suppress(FileNotFoundError):  # another process made room in the cache
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    return os.pread(descriptor, size, at)
                finally:
                    os.close(descriptor)
        raise self.error(f"{path} was removed {_TRIES} times before it could be read; set DB1_CACHE_BYTES higher")

    @contextmanager
    def hold(self, names: Sequence[str]) -> Iterator[list[Path]]:
        """Give files to something that takes a missing file for an empty one: they stay until it is done.

        Raises:
            ManifestError: As ``path`` does, and if a file was replaced meanwhile.
        """
        files = [self._file(name) for name in names]
        try:
            with self._place.hold(self.manifest, files, first=self._unchecked) as paths:
                self._unchecked.difference_update(names)
                yield paths
        except FileError as fault:
            raise self.error(str(fault)) from None

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            ManifestError: If a file is missing or damaged.
        """
        for fault in self._place.faults(self.manifest, check="digests").values():
            raise self.error(fault)
        if not self._place.is_remote:
            self._unchecked.clear()

    def error(self, fault: str) -> ManifestError:
        """Return the error that names this thing, the fault, and the command that makes the thing anew."""
        return ManifestError(self.manifest.kind, self.manifest.name, fault)

    def _file(self, name: str) -> StoredFile:
        if name not in self._files:
            raise self.error(f"its manifest lists no file {name!r}")
        return self._files[name]


def place_at(root: str | Path) -> Place:
    """Return a folder on this machine, or in an object store when it is a URL such as ``s3://bucket/folder``."""
    return RemotePlace(root) if isinstance(root, str) and "://" in root else LocalPlace(root)


def stored_names(root: str | Path) -> list[str]:
    """Return the sorted names of all complete things below a root; names with a leading underscore are left out."""
    if (place := place_at(root)).is_remote:
        paths = [path.split("/")[:-1] for path in place.entries("") if path.endswith(f"/{MANIFEST_NAME}")]
        hidden = (any(part[0] in "._" or DATA.fullmatch(part) for part in parts) for parts in paths)
        return sorted("/".join(parts) for parts, is_hidden in zip(paths, hidden, strict=True) if not is_hidden)
    root, names, waiting = Path(root), [], [Path(root)]
    while waiting:
        folder = waiting.pop()
        if (folder / MANIFEST_NAME).is_file():
            names.append(folder.relative_to(root).as_posix())
        if folder.is_dir():
            inside = [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]
            waiting += [path for path in inside if not DATA.fullmatch(path.name)]
    return sorted(names)
