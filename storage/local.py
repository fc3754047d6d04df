from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.manifest import (
    MANIFEST_NAME,
    Manifest,
    StoredFile,
    describe_files,
    digest_of,
    encode_manifest,
    flush_folder,
    make_folder,
    size_fault,
    write_atomically,
)
from storage.place import DATA, Entry, FileError, Fill, Place, Seal, Stray, digest_fault

LOCK, PARTIAL, RUNS = ".lock", ".partial", "runs"
_PARTIAL_MANIFEST = f".{MANIFEST_NAME}.partial"


class LocalPlace(Place):
    """A folder on this machine.

    Writing makes a new data folder beside the old one; the manifest moves from one to the other by a single rename.
    A process that is killed at any moment therefore leaves the old thing or the new one, and what it leaves half done
    is removed by the next writer. A lock lets one writer at a time in; a second one waits.

    Args:
        path: The folder.
    """

    is_remote = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def data_folder(self, manifest: Manifest) -> Path:
        """See ``Place``."""
        return self._path / manifest.folder

    def folders(self) -> list[str]:
        """See ``Place``."""
        return [path.name for path in self._path.iterdir() if path.is_dir()] if self._path.is_dir() else []

    def locate(self, name: str = "") -> str:
        """See ``Place``."""
        return str(self._path / name)

    def read(self, name: str) -> bytes:
        """See ``Place``."""
        try:
            return (self._path / name).read_bytes()
        except NotADirectoryError as error:
            raise FileNotFoundError(str(error)) from None

    def entries(self, folder: str) -> dict[str, Entry]:
        """See ``Place``."""
        root, found = self._path / folder, {}
        for parent, _, names in os.walk(root):
            for path in (Path(parent, name) for name in names):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    found[path.relative_to(root).as_posix()] = Entry(status.st_size, "", modified)
        return found

    def digest(self, name: str) -> str:
        """See ``Place``."""
        return digest_of(self._path / name)

    def hand_out(self, manifest: Manifest, file: StoredFile, *, first: bool) -> Path:
        """See ``Place``."""
        path = self._path / manifest.folder / file.path
        fault = size_fault(str(path), path.stat().st_size if path.is_file() else None, file)
        if fault is None and first:
            fault = digest_fault(str(path), digest_of(path), file)
        if fault:
            raise FileError(fault)
        return path

    @contextmanager
    def hold(self, manifest: Manifest, files: Sequence[StoredFile], *, first: Container[str]) -> Iterator[list[Path]]:
        """See ``Place``; a writer that replaces the thing does not wait, but is noticed at the end."""
        with ExitStack() as stack:
            paths = [self.hand_out(manifest, file, first=file.path in first) for file in files]
            try:
                opened = [stack.enter_context(path.open("rb")) for path in paths]
            except FileNotFoundError as error:
                raise FileError(f"{error.filename} is missing") from None
            yield paths
            for path, file in zip(paths, opened, strict=True):
                if os.fstat(file.fileno()).st_nlink == 0:
                    raise FileError(f"{path} is missing: it was replaced while it was read")

    def replace(self, key: str, fill: Fill, seal: Seal) -> Manifest:
        """See ``Place``."""
        make_folder(self._path)
        with (self._path / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._remove_replaced()
            partial = self._path / PARTIAL
            try:
                partial.mkdir()
                metadata = fill(partial)
                data = next(name for name in (key[:16], f"{key[:16]}-again") if not (self._path / name).exists())
                seal((), metadata, data)  # what is refused is refused before the disk is kept busy
                manifest = seal(describe_files(partial), metadata, data)
                partial.rename(self._path / data)
                flush_folder(self._path)
                write_atomically(self._path / MANIFEST_NAME, encode_manifest(manifest))
            finally:
                self._remove_replaced()
        return manifest

    def strays(self, *, min_age_s: float, remove: bool) -> list[Stray]:
        """See ``Place``; a writer's lock tells what is in use, whatever its age."""
        with ExitStack() as stack:
            if (self._path / LOCK).exists() or remove:
                lock = stack.enter_context((self._path / LOCK).open("a"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return []
            found = list(self._find_strays())
            for stray in found if remove else ():
                _remove(self._path / stray.name)
            return found

    def is_busy(self) -> bool:
        """Return whether a writer holds the lock."""
        try:
            with (self._path / LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def _find_strays(self) -> Iterator[Stray]:
        try:
            manifest = json.loads(self.read(MANIFEST_NAME))
            current, key = manifest["folder"], manifest["key"][:16]
            listed = {file["path"] for file in manifest["files"]}
        except FileNotFoundError:
            current, key, listed = "", "", set()
        except (ValueError, TypeError, KeyError):
            return  # It cannot be told what a broken manifest refers to.
        for path in sorted(self._path.iterdir()):
            if path.name in (PARTIAL, _PARTIAL_MANIFEST):
                yield _describe(path, self._path, "left by a writer that was stopped")
            elif path.is_dir() and DATA.fullmatch(path.name) and path.name != current:
                yield _describe(path, self._path, "data that no manifest refers to")
        if current:
            for name in sorted(set(self.entries(current)) - listed):
                yield _describe(self._path / current / name, self._path, "a file that the manifest does not list")
        if key and (run := self._path / RUNS / key).is_dir():
            yield _describe(run, self._path, "training states of a finished run")

    def _remove_replaced(self) -> None:
        try:
            current = json.loads(self.read(MANIFEST_NAME))["folder"]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            current = ""  # Nothing can be read through this manifest, so nothing is worth keeping.
        for path in self._path.iterdir():
            if path.name != current and (path.name in (PARTIAL, _PARTIAL_MANIFEST) or DATA.fullmatch(path.name)):
                _remove(path)


def _describe(path: Path, root: Path, reason: str) -> Stray:
    inside = path.rglob("*") if path.is_dir() else [path]
    size = sum(one.stat().st_size for one in inside if one.is_file())
    return Stray(path.relative_to(root).as_posix(), size, reason)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
