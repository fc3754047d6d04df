from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec

from storage.disk_cache import DiskCache
from storage.manifest import MANIFEST_NAME, Manifest, StoredFile, describe_files, digest_of, encode_manifest, size_fault
from storage.place import DATA, Entry, FileError, Fill, Place, Seal, Stray, digest_fault

_BLOCK_BYTES = 16 << 20
_FILES_AT_ONCE = 4  # each may be in memory as a whole while it is sent
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


class RemotePlace(Place):
    """A folder in an object store, named by a URL that fsspec knows.

    Writing sends the files to a data folder of its own, and then the manifest, which an object store takes as a whole
    or not at all; the data that the manifest named before are removed. A writer that is stopped therefore leaves the
    old thing or the new one, and of several writers at once the last one wins; what the others sent is left to
    ``storage.retention``. Files are read from copies in a cache on this machine's disk.

    Args:
        url: Such as ``s3://bucket/folder``.
    """

    is_remote = True

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    @property
    def path(self) -> Path:
        """The folder of what this machine keeps beside the thing, such as training states; it may not exist."""
        return DiskCache.from_environment().folder / "beside" / self._url.replace("://", "/")

    def data_folder(self, manifest: Manifest) -> Path:
        """See ``Place``."""
        return DiskCache.from_environment().path(manifest.digest)

    def folders(self) -> list[str]:
        """See ``Place``."""
        try:
            listed = self._files.ls(self._url, detail=True)
        except FileNotFoundError:
            return []
        return [one["name"].rstrip("/").rsplit("/", 1)[1] for one in listed if one["type"] == "directory"]

    def locate(self, name: str = "") -> str:
        """See ``Place``."""
        return f"{self._url}/{name}".rstrip("/")

    def read(self, name: str) -> bytes:
        """See ``Place``."""
        return self._files.cat_file(self.locate(name))

    def entries(self, folder: str) -> dict[str, Entry]:
        """See ``Place``."""
        files = self._files
        found, root = files.find(self.locate(folder), detail=True), files._strip_protocol(self.locate(folder))
        return {name.removeprefix(root).lstrip("/"): _entry(info) for name, info in found.items()}

    def digest(self, name: str) -> str:
        """See ``Place``."""
        with self._files.open(self.locate(name), "rb", block_size=_BLOCK_BYTES, cache_type="readahead") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def hand_out(self, manifest: Manifest, file: StoredFile, *, first: bool) -> Path:
        """See ``Place``."""
        name, cache = f"{manifest.digest}/{file.path}", DiskCache.from_environment()
        return cache.get(name, file, lambda path: self._fetch(manifest, file, path), compare=first)

    @contextmanager
    def hold(self, manifest: Manifest, files: Sequence[StoredFile], *, first: Container[str]) -> Iterator[list[Path]]:
        """See ``Place``."""
        cache = DiskCache.from_environment()
        with ExitStack() as stack:
            held = (
                cache.hold(
                    f"{manifest.digest}/{file.path}",
                    file,
                    lambda path, file=file: self._fetch(manifest, file, path),
                    compare=file.path in first,
                )
                for file in files
            )
            yield [stack.enter_context(one) for one in held]

    def replace(self, key: str, fill: Fill, seal: Seal) -> Manifest:
        """See ``Place``."""
        data = f"{key[:16]}-{secrets.token_hex(4)}"
        with DiskCache.from_environment().scratch() as scratch:
            metadata = fill(scratch)
            seal((), metadata, data)  # what is refused is refused before it is sent
            files = describe_files(scratch)
            try:
                paths = [str(scratch / file.path) for file in files]
                urls = [self.locate(f"{data}/{file.path}") for file in files]
                self._files.put(paths, urls, batch_size=_FILES_AT_ONCE)
                found = self.entries(data)
                for file, url in zip(files, urls, strict=True):
                    if fault := size_fault(url, found[file.path].bytes if file.path in found else None, file):
                        raise OSError(f"{fault} right after it was sent; send it again")
            except BaseException:
                with suppress(Exception):
                    self._files.rm(self.locate(data), recursive=True)
                raise
        manifest = seal([file._replace(tag=found[file.path].tag) for file in files], metadata, data)
        try:
            before = self._current()[0]
        except ValueError:
            before = ""  # What a broken manifest referred to is left to the retention.
        self._files.pipe_file(self.locate(MANIFEST_NAME), encode_manifest(manifest))
        if DATA.fullmatch(before):
            with suppress(FileNotFoundError):
                self._files.rm(self.locate(before), recursive=True)
        return manifest

    def strays(self, *, min_age_s: float, remove: bool) -> list[Stray]:
        """See ``Place``."""
        entries, before = self.entries(""), datetime.now(UTC) - timedelta(seconds=min_age_s)
        try:  # After the listing: what a manifest refers to by now is then known.
            current, listed = self._current()
        except ValueError:
            return []  # It cannot be told what a broken manifest refers to.
        found: dict[str, list[Entry]] = defaultdict(list)
        for name, entry in entries.items():
            folder, _, path = name.partition("/")
            if DATA.fullmatch(folder) and (folder != current or path not in listed):
                found[name if folder == current else folder].append(entry)
        strays = [
            Stray(name, sum(one.bytes for one in inside), "data that no manifest refers to")
            for name, inside in sorted(found.items())
            if max(one.modified for one in inside) < before
        ]
        for stray in strays if remove else ():
            self._files.rm(self.locate(stray.name), recursive=True)
        return strays

    @property
    def _files(self) -> Any:
        return open_filesystem(self._url, use_listings_cache=False)[0]

    def _current(self) -> tuple[str, set[str]]:
        """Return the data folder and the files that the manifest names; nothing when there is none."""
        try:
            manifest = json.loads(self.read(MANIFEST_NAME))
            return manifest["folder"], {file["path"] for file in manifest["files"]}
        except FileNotFoundError:
            return "", set()
        except (TypeError, KeyError) as error:
            raise ValueError(f"{self.locate(MANIFEST_NAME)} is broken ({error!r}); expected a manifest") from None

    def _fetch(self, manifest: Manifest, file: StoredFile, path: Path) -> None:
        url = self.locate(f"{manifest.folder}/{file.path}")
        try:
            self._files.get_file(url, str(path))
        except FileNotFoundError:
            raise FileError(f"{url} is missing") from None
        fault = size_fault(url, path.stat().st_size, file) or digest_fault(url, digest_of(path), file)
        if fault:
            raise FileError(fault)


def open_filesystem(url: str, **options: Any) -> tuple[Any, str]:
    """Return fsspec's file system of a path or a URL, and what the path is called there.

    Raises:
        ValueError: If a package that it needs is not installed, or nothing knows such a URL.
    """
    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        scheme = url.split("://")[0]
        install = f"; install it with:\n  pip install -e '.[{_EXTRAS.get(scheme)}]' -c constraints.txt"
        mend = install if scheme in _EXTRAS else ""
        raise ValueError(f"{url} needs a package that is not there ({error}){mend}") from None


def _entry(info: dict[str, Any]) -> Entry:
    modified = info.get("LastModified") or info.get("updated") or info.get("created")
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified)
    tag = info.get("ETag") or info.get("md5Hash") or ""
    return Entry(info["size"], tag.strip('"'), modified or datetime.now(UTC))
