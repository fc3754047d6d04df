from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from storage.cache import ByteCache
from storage.folder import StoredFiles, StoredFolder, stored_names
from storage.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    Manifest,
    ManifestError,
    StoredFile,
    canonical_json,
    encode_manifest,
)
from storage.packing import SAMPLE_BYTES, Compression, pack
from storage.shard_index import ShardedTask, ShardIndex
from storage.shard_tables import TABLES, write_tables
from storage.tokens import StoredTokens, TokenEpisode

KIND, INDEX_KIND = "shards", "shard-index"
SHARD_BYTES = 64_000_000
CACHE_BYTES = 128 << 20
_PASS_BYTES = 384 << 20
_EPISODE_BYTES = 400  # that an episode takes in memory beside its tokens and images


class ShardStore:
    """Tokenized episodes packed into WebDataset tars, one folder a task, and indexes of sets of tasks.

    A task's folder holds ``shard-*.tar`` (see ``storage.packing``), tables of where each step and episode lies (see
    ``storage.shard_tables``) and ``layout.json``. An index names tasks and the digest of each one's shards.

    Args:
        root: Where they lie, such as ``Locations().shards``.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self, task: str, recipe: Mapping[str, Any]) -> Manifest | None:
        """Return the manifest when the task's shards are complete, sound and made from exactly this recipe."""
        return StoredFolder(self.root, KIND, task).find(recipe)

    def write(
        self,
        task: str,
        tokens: StoredTokens,
        *,
        recipe: Mapping[str, Any],
        seed: int,
        shard_bytes: int = SHARD_BYTES,
        compression: Compression = "blosc-zstd",
        metadata: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Write the shards of a task in place of those that were there; about 512 MiB of episodes are in memory.

        Args:
            task: Id of the task.
            tokens: Its tokenized episodes.
            recipe: What the shards are made from: the digest of the tokens, the seed, the sizes.
            seed: Of the order of the episodes in the shards.
            shard_bytes: Largest size of a shard; a sample larger than this has a shard of its own.
            compression: ``blosc-zstd``, or ``none`` (about twice as fast to read and twice as large).
            metadata: Anything else worth knowing; the numbers of episodes, transitions, tokens and shards are added.

        Raises:
            ValueError: If there is no such compression.
        """
        if compression not in get_args(Compression):
            raise ValueError(f"compression {compression!r}; expected one of {', '.join(get_args(Compression))}")

        def fill(folder: Path) -> Mapping[str, Any]:
            first = tokens[0]
            episodes = _permuted(tokens, seed)
            episode_rows, sample_rows = pack(folder, task, episodes, shard_bytes=shard_bytes, compression=compression)
            write_tables(folder, sample_rows, episode_rows)
            facts = {
                "task": task,
                "layout": tokens.layout,
                "step_tokens": first.tokens.shape[1],
                "image_shape": None if first.images is None else first.images.shape[1:],
                "compression": compression,
            }
            (folder / "layout.json").write_bytes(canonical_json(facts))
            num_transitions = int(episode_rows["length"].sum())
            return {
                **(metadata or {}),
                "num_episodes": len(episode_rows),
                "num_transitions": num_transitions,
                "num_tokens": num_transitions * first.tokens.shape[1],
                "num_shards": int(sample_rows["shard"][-1]) + 1,
            }

        return StoredFolder(self.root, KIND, task).write(fill, recipe=recipe)

    def find_index(self, name: str, recipe: Mapping[str, Any]) -> Manifest | None:
        """Return the manifest of an index made from exactly this recipe whose tasks still have the same shards."""
        manifest = self._index_folder(name).find(recipe)
        try:
            return manifest and self.read(name).manifest
        except ManifestError:
            return None

    def write_index(
        self, name: str, tasks: Sequence[str], *, recipe: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> Manifest:
        """Write the index of a set of tasks: the digest of each one's shards, and what a reader needs to begin with.

        Raises:
            ManifestError: If the shards of a task are missing, incomplete or damaged.
            ValueError: If there are no tasks, or one stands there twice.
        """
        if not tasks or len(set(tasks)) != len(tasks):
            raise ValueError(f"the index {name!r} got the tasks {list(tasks)}, expected at least one, each once")
        counts = dict.fromkeys(("num_episodes", "num_transitions", "num_tokens", "num_shards"), 0)
        entries, manifests, tables = [], {}, {}
        for task in tasks:
            stored = ShardedTask(StoredFolder(self.root, KIND, task).open(), ByteCache(0))
            entries.append({"task": task, **stored.describe()})
            manifests[task] = hashlib.sha256(encode_manifest(stored.manifest)).hexdigest()
            listed = [file for file in stored.manifest.files if file.path in TABLES]
            tables[task] = {"folder": stored.manifest.folder, "files": listed}
            for count in counts:
                counts[count] += stored.manifest.metadata[count]

        def fill(folder: Path) -> Mapping[str, Any]:
            (folder / "index.json").write_bytes(canonical_json(entries))
            return {**metadata, **counts, "num_tasks": len(tasks), "manifests": manifests, "tables": tables}

        return self._index_folder(name).write(fill, recipe=recipe)

    def read(self, name: str, *, cache_bytes: int | None = None) -> ShardIndex:
        """Open the shards of all tasks of an index.

        Args:
            name: Name of the index.
            cache_bytes: Decoded samples that are kept in memory; by default 128 MiB, and two samples a task if that is
                more.

        Raises:
            ManifestError: If the index or the shards of a task are missing, incomplete or damaged, or the shards are
                not those that the index was made of.
        """
        files = self._index_folder(name).open()
        entries, known = json.loads(files.path("index.json").read_bytes()), files.manifest.metadata
        least = max(CACHE_BYTES, 2 * SAMPLE_BYTES * len(entries))
        cache: ByteCache[Any] = ByteCache(least if cache_bytes is None else cache_bytes)
        tasks: dict[str, ShardedTask] = {}
        for entry in entries:
            expected, tables = known["manifests"][entry["task"]], None
            folder = StoredFolder(self.root, KIND, entry["task"])
            is_same = _manifest_digest(folder) == expected
            if not is_same and (found := folder.read().digest) != entry["digest"]:
                raise files.error(
                    f"the shards of task {entry['task']!r} changed (their digest is {found[:12]}..., "
                    f"expected {entry['digest'][:12]}...)"
                )
            if is_same and "tables" in known:
                tables = partial(_open_tables, folder, entry["digest"], known["tables"][entry["task"]])
            tasks[entry["task"]] = ShardedTask(partial(_open, folder, expected), cache, facts=entry, tables=tables)
        return ShardIndex(files, tasks)

    def read_task(self, task: str, *, cache_bytes: int = CACHE_BYTES) -> ShardedTask:
        """Open the shards of one task.

        Raises:
            ManifestError: If they are missing, incomplete or damaged.
        """
        return ShardedTask(StoredFolder(self.root, KIND, task).open(), ByteCache(cache_bytes))

    def tasks(self) -> list[str]:
        """Return the sorted ids of the tasks that have shards here."""
        return stored_names(self.root)

    def _index_folder(self, name: str) -> StoredFolder:
        return StoredFolder(f"{self.root}/_index", INDEX_KIND, name)


def _manifest_digest(folder: StoredFolder) -> str | None:
    try:
        return hashlib.sha256(folder.place.read(MANIFEST_NAME)).hexdigest()
    except FileNotFoundError:
        return None


def _open(folder: StoredFolder, expected: str) -> StoredFiles:
    """Open the shards of a task of an index; their sizes are looked at when they are read."""
    content = folder.place.read(MANIFEST_NAME)
    if hashlib.sha256(content).hexdigest() != expected:
        return folder.open()
    value = json.loads(content)  # as it was when the index was written, and so found to be right
    del value["checksum"]
    listed = tuple(StoredFile(**file) for file in value.pop("files"))
    return StoredFiles(folder.place, Manifest(files=listed, **value))


def _open_tables(folder: StoredFolder, digest: str, known: Mapping[str, Any]) -> StoredFiles:
    """Open the tables of a task whose manifest is that of which the index was made; it need not be parsed."""
    listed = tuple(StoredFile(*file) for file in known["files"])
    manifest = Manifest(KIND, folder.name, FORMAT_VERSION, "", digest, listed, {}, {}, known["folder"])
    return StoredFiles(folder.place, manifest)


def _permuted(tokens: StoredTokens, seed: int) -> Iterator[TokenEpisode]:
    """Yield all episodes in a random order; each pass over the store holds what comes next, up to 384 MiB."""
    order = np.argsort(np.random.PCG64(seed).random_raw(len(tokens)), kind="stable")
    first = tokens[0]
    step_bytes = first.tokens[0].nbytes + (0 if first.images is None else first.images[0].nbytes)
    pass_of = np.cumsum(tokens.episode_lengths[order] * step_bytes + _EPISODE_BYTES) // _PASS_BYTES
    for number in np.unique(pass_of):
        wanted = order[pass_of == number]
        held = {int(i): _copy(tokens[int(i)]) for i in np.sort(wanted)}
        yield from (held.pop(int(i)) for i in wanted)


def _copy(episode: TokenEpisode) -> TokenEpisode:
    # A view would keep the whole block that it was read with in memory.
    images = None if episode.images is None else episode.images.copy()
    return TokenEpisode(episode.tokens.copy(), images, episode.seed, episode.total_return)
