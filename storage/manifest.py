from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

_KINDS = {
    "specialist": ("specialist of task", "specialists"),
    "trajectories": ("trajectories of task", "trajectories"),
    "catalogue": ("catalogue", "catalogue"),
    "tokenizer": ("tokenizer", "tokenizer"),
    "tokens": ("tokens of task", "tokens"),
    "shards": ("shards of task", "shards"),
    "shard-index": ("shard index", "shards"),
    "checkpoint": ("checkpoint", "checkpoint"),
    "evaluation": ("evaluation", "evaluation"),
    "champion": ("champion of experiment", "champion"),
    "kept-champion": ("kept champion", "champion"),
    "games": ("games of a contest", "champion"),
    "report": ("report", "report"),
}
_OF_EXPERIMENTS = {
    "catalogue",
    "tokenizer",
    "shard-index",
    "checkpoint",
    "champion",
    "kept-champion",
    "games",
    "report",
}  # the others are named by their task


class ManifestError(ValueError):
    """Something stored is missing, broken or not what its manifest says; the message says what makes it anew."""

    def __init__(self, kind: str, name: str, fault: str) -> None:
        self.kind, self.name, self.fault = kind, name, fault
        super().__init__(f"{describe(kind, name)}: {fault}; make it with:\n  {making_command(kind, name)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.name, self.fault)


class StoredFile(NamedTuple):
    """One file of a stored thing.

    Args:
        path: Below the manifest's data folder, with forward slashes.
        bytes: Its size.
        sha256: Hexadecimal digest of its content.
        tag: What an object store called this content when it took it (its ETag); empty on a disk. A file whose tag is
            still the same need not be read to know that it is.
    """

    path: str
    bytes: int
    sha256: str
    tag: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a stored thing is made of. It is written last, so a folder with a manifest is complete.

    Args:
        kind: ``specialist``, ``trajectories``, ``catalogue``, ``tokenizer``, ``tokens``, ``shards``, ``shard-index``,
            ``checkpoint``, ``evaluation``, ``champion``, ``kept-champion``, ``games`` or ``report``.
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
    """Return the command that makes a stored thing; what is kept of a champion is named by its experiment first."""
    name = name.split("/", 1)[0] if kind in ("kept-champion", "games") else name
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
                os.fsync(file.fileno())
            files.append(StoredFile(name, path.stat().st_size, digest_of(path)))
    flush_folder(folder)
    return tuple(files)


def make_manifest(
    *,
    kind: str,
    name: str,
    recipe: Mapping[str, Any],
    metadata: Mapping[str, Any],
    files: Iterable[StoredFile],
    data_folder: str = "",
) -> Manifest:
    """Return the manifest of files that are complete.

    Raises:
        ValueError: If the kind is unknown, or the recipe or the metadata are not JSON values.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r} of stored thing; expected one of {', '.join(_KINDS)}")
    stored = tuple(sorted(files, key=lambda file: file.path))
    key = recipe_key(recipe)
    return Manifest(
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


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of ``manifest.json``, which ends with a checksum of all that stands before it."""
    value = asdict(manifest)
    value["files"] = [{name: part for name, part in file._asdict().items() if part != ""} for file in value["files"]]
    value["checksum"] = _checksum(value)
    return _encode(value)


def decode_manifest(content: bytes, *, kind: str, name: str, where: str) -> Manifest:
    """Return the manifest that a ``manifest.json`` holds.

    Args:
        content: Of the file.
        kind: The kind that is expected.
        name: The name that is expected.
        where: Where the file lies, for the error.

    Raises:
        ManifestError: If a single byte is not as it was written, or the manifest is of another kind, name or format.
    """
    try:
        value = json.loads(content)
        if _encode(value) != content or value.pop("checksum") != _checksum(value):
            raise ManifestError(kind, name, f"{where} is broken (its checksum is not that of its content)")
        files = tuple(StoredFile(**file) for file in value.pop("files"))
        manifest = Manifest(files=files, **value)
    except ManifestError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ManifestError(kind, name, f"{where} is broken ({error})") from error
    found = (manifest.kind, manifest.name, manifest.format_version)
    if found != (kind, name, FORMAT_VERSION):
        fault = f"{where} says (kind, name, format) {found}, expected {(kind, name, FORMAT_VERSION)}"
        raise ManifestError(kind, name, fault)
    return manifest


def size_fault(where: str, size: int | None, file: StoredFile) -> str | None:
    """Return what is wrong with a file of this size in bytes, None for one that is not there; None when it is right."""
    if size is None:
        return f"{where} is missing"
    return None if size == file.bytes else f"{where} has {size} bytes, expected {file.bytes}"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file such that its name holds the old content or the new, whenever the process is killed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing, such that their names last."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder last, as fsync does for the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(key: str, files: Iterable[StoredFile]) -> str:
    return hashlib.sha256(canonical_json([key, [[file.path, file.sha256] for file in files]])).hexdigest()


def _encode(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
