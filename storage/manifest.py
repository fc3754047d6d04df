from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

_KINDS = {
    "trajectories": ("trajectories of task", "trajectories"),
    "tokenizer": ("tokenizer", "tokenizer"),
    "tokens": ("tokens of task", "tokens"),
    "shards": ("shards of task", "shards"),
    "shard-index": ("shard index", "shards"),
    "checkpoint": ("checkpoint", "checkpoint"),
    "evaluation": ("evaluation", "evaluation"),
    "report": ("report", "report"),
}
_OF_EXPERIMENTS = {"tokenizer", "shard-index", "checkpoint", "report"}  # the others are named by their task


class ManifestError(ValueError):
    """Something stored is missing, broken or not what its manifest says; the message says what makes it anew."""

    def __init__(self, kind: str, name: str, fault: str) -> None:
        self.kind, self.name, self.fault = kind, name, fault
        super().__init__(f"{describe(kind, name)}: {fault}; make it with:\n  {making_command(kind, name)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.name, self.fault)


@dataclass(frozen=True)
class StoredFile:
    """One file of a stored thing.

    Args:
        path: Below the manifest's data folder, with forward slashes.
        bytes: Its size.
        sha256: Hexadecimal digest of its content.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a stored thing is made of. It is written last, so a folder with a manifest is complete.

    Args:
        kind: ``trajectories``, ``tokenizer``, ``tokens``, ``shards``, ``shard-index``, ``checkpoint``, ``evaluation``
            or ``report``.
        name: Task id, or the name of the thing.
        format_version: Version of the format on disk.
        key: Digest of the recipe: what it was to be made from.
        digest: Digest of the key and of every file's path and content: what was made. Equal inputs give an equal
            digest; the metadata have no part in it.
        files: All files, sorted by path.
        recipe: Configuration, code version and digests of the inputs, as JSON values.
        metadata: Anything else worth knowing (durations, reference scores, counts), as JSON values.
        folder: Where the files lie, below the manifest's own folder; empty when they lie beside it.
    """

    kind: str
    name: str
    format_version: int
    key: str
    digest: str
    files: tuple[StoredFile, ...]
    recipe: Mapping[str, Any]
    metadata: Mapping[str, Any]
    folder: str = ""

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)


def describe(kind: str, name: str) -> str:
    """Return words for people, such as ``tokens of task 'tsp/tsp100-1'``."""
    return f"{_KINDS[kind][0]} {name!r}"


def making_command(kind: str, name: str) -> str:
    """Return the command that makes a stored thing."""
    return f"db1 make {_KINDS[kind][1]} {'--experiment ' if kind in _OF_EXPERIMENTS else ''}{name}"


def canonical_json(value: Any) -> bytes:
    """Return JSON that is equal for equal values: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: If the value holds anything but finite JSON values.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}; expected finite JSON values, got {value!r:.200}") from error
    return text.encode()


def recipe_key(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe in canonical JSON, as hexadecimal digits."""
    return hashlib.sha256(canonical_json(dict(recipe))).hexdigest()


def describe_files(folder: str | Path) -> tuple[StoredFile, ...]:
    """Flush all files below a folder to the disk, and return their sizes and digests, sorted by path.

    Hidden files at the top and a manifest there are left out.
    """
    folder, files = Path(folder), []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            flush_folder(path)
        elif name != MANIFEST_NAME and not name.startswith("."):
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            files.append(StoredFile(name, path.stat().st_size, sha256))
    flush_folder(folder)
    return tuple(files)


def write_manifest(
    folder: str | Path,
    *,
    kind: str,
    name: str,
    recipe: Mapping[str, Any],
    metadata: Mapping[str, Any],
    files: Iterable[StoredFile] | None = None,
    data_folder: str = "",
) -> Manifest:
    """Write ``manifest.json`` atomically, after the files that it lists have reached the disk.

    Args:
        folder: The folder that gets the manifest.
        kind: See ``Manifest``.
        name: See ``Manifest``.
        recipe: See ``Manifest``.
        metadata: See ``Manifest``.
        files: What ``describe_files`` returned; None for all files of the data folder.
        data_folder: Where the files lie, below ``folder``; empty when they lie beside the manifest.

    Raises:
        ValueError: If the kind is unknown, or the recipe or the metadata are not JSON values.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r} of stored thing; expected one of {', '.join(_KINDS)}")
    folder = Path(folder)
    stored = describe_files(folder / data_folder) if files is None else tuple(files)
    stored = tuple(sorted(stored, key=lambda file: file.path))
    key = recipe_key(recipe)
    manifest = Manifest(
        kind=kind,
        name=name,
        format_version=FORMAT_VERSION,
        key=key,
        digest=_digest(key, stored),
        files=stored,
        recipe=json.loads(canonical_json(dict(recipe))),
        metadata=json.loads(canonical_json(dict(metadata))),
        folder=data_folder,
    )
    value = asdict(manifest)
    value["checksum"] = _checksum(value)
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / MANIFEST_NAME, text.encode() + b"\n")
    return manifest


def read_manifest(folder: str | Path, *, kind: str, name: str) -> Manifest:
    """Read a manifest, and check that every file that it lists is there in its full size.

    Args:
        folder: The folder that holds the manifest.
        kind: The kind that is expected.
        name: The name that is expected.

    Raises:
        ManifestError: If there is no manifest, or it is broken, or it is of another kind, name or format, or a file
            is missing or of another size.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        value = json.loads(path.read_bytes())
        if value.pop("checksum") != _checksum(value):
            raise ManifestError(kind, name, f"{path} is broken (its checksum is not that of its content)")
        files = tuple(StoredFile(**file) for file in value.pop("files"))
        manifest = Manifest(files=files, **value)
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError(kind, name, f"there is no {path}") from None
    except ManifestError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestError(kind, name, f"{path} is broken ({error})") from error
    found = (manifest.kind, manifest.name, manifest.format_version)
    if found != (kind, name, FORMAT_VERSION):
        fault = f"{path} says (kind, name, format) {found}, expected {(kind, name, FORMAT_VERSION)}"
        raise ManifestError(kind, name, fault)
    for file in manifest.files:
        check_size(path.parent / manifest.folder, file, manifest)
    return manifest


def check_size(folder: Path, file: StoredFile, manifest: Manifest) -> None:
    """Raise ``ManifestError`` if a file is missing or not of the size that the manifest states."""
    path = folder / file.path
    if not path.is_file():
        raise ManifestError(manifest.kind, manifest.name, f"{path} is missing")
    if (size := path.stat().st_size) != file.bytes:
        raise ManifestError(manifest.kind, manifest.name, f"{path} has {size} bytes, expected {file.bytes}")


def check_digest(folder: Path, file: StoredFile, manifest: Manifest) -> None:
    """Raise ``ManifestError`` if a file's content is not what was written."""
    check_size(folder, file, manifest)
    path = folder / file.path
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if sha256 != file.sha256:
        fault = f"{path} is corrupt (its SHA-256 is {sha256[:12]}..., expected {file.sha256[:12]}...)"
        raise ManifestError(manifest.kind, manifest.name, fault)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file such that its name holds the old content or the new, whenever the process is killed."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder last, as fsync does for the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(key: str, files: Iterable[StoredFile]) -> str:
    return hashlib.sha256(canonical_json([key, [[file.path, file.sha256] for file in files]])).hexdigest()


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
