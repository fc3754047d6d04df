from __future__ import annotations

import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.manifest import StoredFile, digest_of

MAX_BYTES = 50_000_000_000
_SLACK = 20  # the cache is measured anew when a process has added this part of its limit


class DiskCache:
    """Copies of files from object stores on this machine's disk; what was used longest ago goes when there is no room.

    Any number of processes share it: a file comes under a temporary name and is renamed, one process at a time fetches
    it, and what is held stays. The limit is kept to within a twentieth a process, or to the largest file.

    Args:
        folder: Where the copies lie, and the folders in which things are made before they are sent away.
        max_bytes: Size of all copies together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._bytes, self._added = 0, max_bytes

    @staticmethod
    def from_environment() -> DiskCache:
        """Return the cache in ``DB1_CACHE`` (``~/.cache/db1``) of ``DB1_CACHE_BYTES`` (50 GB).

        Raises:
            ValueError: If the size is no positive whole number.
        """
        cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder, size = os.environ.get("DB1_CACHE") or f"{cache_home}/db1", os.environ.get("DB1_CACHE_BYTES")
        if size and (not size.isdecimal() or int(size) == 0):
            raise ValueError(
                f"DB1_CACHE_BYTES is {size!r}; expected bytes, such as:\n  export DB1_CACHE_BYTES={MAX_BYTES}"
            )
        return _open(str(Path(folder).expanduser().absolute()), int(size or MAX_BYTES))

    def path(self, name: str) -> Path:
        """Return where the copy of a file lies when there is one."""
        return self.folder / "files" / name

    def get(self, name: str, file: StoredFile, fetch: Callable[[Path], None], *, compare: bool) -> Path:
        """Return where a sound copy lies.

        Args:
            name: Tells the file from every other; a path.
            file: Size and digest that it must have.
            fetch: Writes the file, and raises if that is not what it must be.
            compare: Whether a copy that is there already is compared with its digest, and not with its size alone.
        """
        path = self.path(name)
        if _is_sound(path, file, compare=compare):
            return path
        with _turn(path) as partial:
            if not _is_sound(path, file, compare=compare):
                self._make_room(file.bytes)
                fetch(partial)
                partial.replace(path)
        return path

    @contextmanager
    def hold(self, name: str, file: StoredFile, fetch: Callable[[Path], None], *, compare: bool) -> Iterator[Path]:
        """Keep a copy from leaving as long as the context lasts."""
        while True:
            path = self.get(name, file, fetch, compare=compare)
            with suppress(FileNotFoundError), path.open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_SH)
                if os.fstat(held.fileno()).st_nlink:
                    yield path
                    return

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder, and remove it afterwards, with those that killed processes left."""
        root = self.folder / "scratch"
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in root.glob("*/"):
                with _try_lock(left) as is_free:
                    if is_free:
                        shutil.rmtree(left)
            folder = Path(tempfile.mkdtemp(dir=root))
            held = os.open(folder, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            os.close(held)

    def _make_room(self, wanted: int) -> None:
        if self._bytes + wanted > self.max_bytes or self._added > self.max_bytes // _SLACK:
            self._bytes, self._added = self._evict(self.max_bytes - wanted), 0
        self._bytes, self._added = self._bytes + wanted, self._added + wanted

    def _evict(self, max_bytes: int) -> int:
        """Remove what was used longest ago until no more than so many bytes are left; return how many are."""
        found: list[tuple[float, int, Path]] = []
        for parent, _, names in os.walk(self.folder / "files"):
            for path in (Path(parent, name) for name in names):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        left = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if left <= max_bytes:
                break
            with suppress(FileNotFoundError), _try_lock(path) as is_free:
                if is_free:
                    path.unlink()
                    left -= size
            with suppress(OSError):
                path.parent.rmdir()
        return left


@functools.cache
def _open(folder: str, max_bytes: int) -> DiskCache:
    return DiskCache(Path(folder), max_bytes)


def _is_sound(path: Path, file: StoredFile, *, compare: bool) -> bool:
    try:
        if path.stat().st_size != file.bytes or (compare and digest_of(path) != file.sha256):
            path.unlink(missing_ok=True)  # The disk has damaged the copy; another one is fetched.
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _turn(path: Path) -> Iterator[Path]:
    """Let one process at a time make a file; give the name under which it grows."""
    partial = path.with_name(f".{path.name}.partial")
    while True:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), partial.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock.fileno(), partial):
                try:
                    yield partial
                finally:
                    if _is_at(lock.fileno(), partial):
                        partial.unlink()
                return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
