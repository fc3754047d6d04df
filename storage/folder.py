from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from storage.manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestError,
    canonical_json,
    check_digest,
    check_size,
    describe_files,
    flush_folder,
    read_manifest,
    recipe_key,
    write_manifest,
)

_LOCK, _PARTIAL = ".lock", ".partial"
_DATA = re.compile(r"[0-9a-f]{16}(-again)?")  # the beginning of the key, once more when rewritten from the same recipe


class StoredFolder:
    """One stored thing: a folder that holds ``manifest.json`` and, below it, the folder of its data.

    Writing makes a new data folder beside the old one; the manifest moves from one to the other by a single rename.
    A process that is killed at any moment therefore leaves the old thing or the new one, and what it leaves half done
    is removed by the next writer. A lock lets one writer at a time in; a second one waits.

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
        self.kind, self.name = kind, name
        self.path = Path(root) / name

    def read(self) -> Manifest:
        """Return the manifest, after checking that every file is there in its full size.

        Raises:
            ManifestError: If the thing is missing, incomplete or damaged.
        """
        return read_manifest(self.path, kind=self.kind, name=self.name)

    def find(self, recipe: Mapping[str, Any], *, check: Literal["sizes", "digests"] = "digests") -> Manifest | None:
        """Return the manifest when the thing is complete, sound and made from exactly this recipe, otherwise None.

        Args:
            recipe: What it is to be made from.
            check: ``digests`` reads every byte (about 1 GB/s a core), so that a damaged thing is made anew; ``sizes``
                only looks.
        """
        try:
            manifest = self.read()
            if manifest.key != recipe_key(recipe):
                return None
            if check == "digests":
                StoredFiles(self.path, manifest).verify()
        except ManifestError:
            return None
        return manifest

    def open(self) -> StoredFiles:
        """Return the files for reading.

        Raises:
            ManifestError: If the thing is missing, incomplete or damaged.
        """
        return StoredFiles(self.path, self.read())

    def write(self, fill: Callable[[Path], Mapping[str, Any]], *, recipe: Mapping[str, Any]) -> Manifest:
        """Make the thing, and put it in the place of what was there.

        Args:
            fill: Writes the files into the empty folder that it is given, and returns the metadata.
            recipe: What it is made from.

        Returns:
            The manifest of the new thing. If ``fill`` raises, the old thing stays.
        """
        key = recipe_key(recipe)
        with self._writing():
            self._remove_strays()
            partial = self.path / _PARTIAL
            partial.mkdir()
            try:
                metadata = fill(partial)
                canonical_json(dict(metadata))
                files = describe_files(partial)
            except BaseException:
                shutil.rmtree(partial)
                raise
            data = next(name for name in (key[:16], f"{key[:16]}-again") if not (self.path / name).exists())
            partial.rename(self.path / data)
            flush_folder(self.path)
            manifest = write_manifest(
                self.path,
                kind=self.kind,
                name=self.name,
                recipe=recipe,
                metadata=metadata,
                files=files,
                data_folder=data,
            )
            self._remove_strays()
        return manifest

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_strays(self) -> None:
        try:
            current = json.loads((self.path / MANIFEST_NAME).read_bytes())["folder"]
        except (OSError, ValueError, TypeError, KeyError):
            current = ""  # Nothing can be read through this manifest, so nothing is worth keeping.
        for path in self.path.iterdir():
            if path.name != current and (path.name == _PARTIAL or _DATA.fullmatch(path.name)):
                shutil.rmtree(path)


class StoredFiles:
    """The files of a complete thing; each is compared with its digest before it is first read."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.folder = folder / manifest.folder
        self._files = {file.path: file for file in manifest.files}
        self._unchecked = set(self._files)

    def path(self, name: str) -> Path:
        """Return where a file lies, after comparing it with its digest the first time and with its size every time.

        Raises:
            ManifestError: If the file is missing, damaged or unknown to the manifest.
        """
        if name not in self._files:
            raise self.error(f"its manifest lists no file {name!r}")
        if name in self._unchecked:
            check_digest(self.folder, self._files[name], self.manifest)
            self._unchecked.discard(name)
        else:
            check_size(self.folder, self._files[name], self.manifest)
        return self.folder / name

    def verify(self) -> None:
        """Compare every file with its digest.

        Raises:
            ManifestError: If a file is missing or damaged.
        """
        for file in self.manifest.files:
            check_digest(self.folder, file, self.manifest)
        self._unchecked.clear()

    def error(self, fault: str) -> ManifestError:
        """Return the error that names this thing, the fault, and the command that makes the thing anew."""
        return ManifestError(self.manifest.kind, self.manifest.name, fault)


def stored_names(root: str | Path) -> list[str]:
    """Return the sorted names of all complete things below a root; names with a leading underscore are left out."""
    root, names, waiting = Path(root), [], [Path(root)]
    while waiting:
        folder = waiting.pop()
        if (folder / MANIFEST_NAME).is_file():
            names.append(folder.relative_to(root).as_posix())
        if folder.is_dir():
            inside = [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]
            waiting += [path for path in inside if not _DATA.fullmatch(path.name)]
    return sorted(names)
