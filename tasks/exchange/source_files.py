from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from storage.manifest import digest_of
from storage.remote import open_filesystem
from tasks.exchange.foreign import ForeignDataError, refuse
from tasks.exchange.samples import BadSample, Sample

_BLOCK_BYTES = 8 << 20  # that are fetched at once from an object store


class SourceFiles:
    """The files of a source that end in a certain way, in the order of their names.

    Args:
        source: A file, or a folder with all that lies below it; a path, or a URL that fsspec knows. What begins with a
            dot is left out.
        endings: How the files end, in small letters.

    Raises:
        ForeignDataError: If there is none.
    """

    def __init__(self, source: str, endings: Sequence[str]) -> None:
        self._system, root = open_filesystem(source)
        is_file = self._system.isfile(root)
        found = [root] if is_file else self._system.find(root)
        base = len(root.rpartition("/")[0] if is_file else root.rstrip("/")) + 1
        chosen = {path[base:]: path for path in found if path.lower().endswith(tuple(endings))}
        self._paths = {name: chosen[name] for name in sorted(chosen) if not f"/{name}".count("/.")}
        if not self._paths:
            refuse(source, "no such file", f"a file, or a folder of files, *{', *'.join(endings)}", "give its path")

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; what ends with .gz is decompressed."""
        return self._system.open(self._paths[name], "rb", block_size=_BLOCK_BYTES, compression="infer")

    @cached_property
    def digest(self) -> str:
        """Digest of the names and contents of all files; an object store's own word is taken for the contents."""
        digest = hashlib.sha256()
        for name, path in self._paths.items():
            is_here = isinstance(self._system, LocalFileSystem)
            digest.update(f"{name}\0{digest_of(Path(path)) if is_here else self._system.checksum(path)}\n".encode())
        return digest.hexdigest()


def guard(name: str, samples: Iterable[Sample | BadSample]) -> Iterator[Sample | BadSample]:
    """Yield what a file has up to where it is damaged, if it is, and then why it is not read further.

    Raises:
        ForeignDataError: If it is sound, but not what it ought to be.
        OSError: If it cannot be read for another reason, such as a lost connection.
    """
    try:
        yield from samples
    except ForeignDataError:
        raise
    except OSError as error:
        if error.errno is not None:  # a library that finds damage gives no number
            raise
        yield BadSample(name, f"damaged ({error}); expected a whole file")
    except (ValueError, EOFError, tarfile.TarError, zlib.error) as error:
        yield BadSample(name, f"damaged ({error}); expected a whole file")


def read_json_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield where each line is, and the line; empty ones are left out."""
    for number, line in enumerate(file, start=1):
        if line := line.strip():
            yield f"{name}, line {number}", line


def parse_json(content: bytes) -> Any:
    """Return the value of JSON.

    Raises:
        ValueError: If it is none, or not UTF-8.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"no JSON ({error}); expected an object") from None


def decode_text(content: bytes) -> str:
    """Return the text of UTF-8, without a byte-order mark.

    Raises:
        ValueError: If it is no UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {content[error.start]:#04x} at {error.start}; expected UTF-8 text") from None


def read_tar(file: BinaryIO) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the samples of a WebDataset tar: the key, and the members by what follows the first dot of their names.

    Raises:
        tarfile.TarError: If it is damaged.
    """
    with tarfile.open(fileobj=file, mode="r:") as tar:
        key, parts = "", {}
        while (member := tar.next()) is not None:
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would keep all of them
            if not member.isfile() or (content := tar.extractfile(member)) is None:
                continue
            folder, slash, base = member.name.rpartition("/")
            stem, _, ending = base.partition(".")
            if (found := f"{folder}{slash}{stem}") != key and parts:
                yield key, parts
                parts = {}
            key, parts[ending.lower()] = found, content.read()
        if parts:
            yield key, parts
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"no member's header at byte {tar.offset:,}")
