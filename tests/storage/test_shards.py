from __future__ import annotations

import json
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import Blosc

import storage.packing
import storage.shard_index
import storage.shard_tables
import storage.shards
from storage.manifest import Manifest, ManifestError
from storage.packing import Compression
from storage.shards import ShardStore
from storage.tokens import StoredTokens, TokenEpisode, TokenStore

TASK = "zoo/tokens"


@pytest.fixture
def tokens(tmp_path: Path, token_episodes: list[TokenEpisode]) -> StoredTokens:
    store = TokenStore(str(tmp_path / "tokens"))
    store.write(TASK, {"action_tokens": 1}, token_episodes, recipe={}, metadata={})
    return store.read(TASK)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardStore:
    """A store whose samples hold some 4 kB, so that a few episodes fill several samples and shards."""
    monkeypatch.setattr(storage.packing, "SAMPLE_BYTES", 4000)
    return ShardStore(str(tmp_path / "shards"))


def write(
    store: ShardStore, tokens: StoredTokens, *, task: str = TASK, seed: int = 0, compression: Compression = "blosc-zstd"
) -> Manifest:
    recipe = {"tokens": tokens.manifest.digest, "seed": seed}
    return store.write(task, tokens, recipe=recipe, seed=seed, shard_bytes=20_000, compression=compression)


def assert_equal(found: TokenEpisode, expected: TokenEpisode) -> None:
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.images, expected.images)
    assert (found.seed, found.total_return) == (expected.seed, expected.total_return)


def read_all(store: ShardStore) -> list[TokenEpisode]:
    task = store.read_task(TASK)
    return [task.episode(index) for index in range(len(task))]


@pytest.mark.parametrize("compression", ["blosc-zstd", "none"])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_every_episode_lies_in_the_shards_once_in_an_order_of_the_seed(
    store: ShardStore,
    tokens: StoredTokens,
    token_episodes: list[TokenEpisode],
    compression: Compression,
    cache_bytes: int,
) -> None:
    manifest = write(store, tokens, compression=compression)
    task = store.read_task(TASK, cache_bytes=cache_bytes)
    found = [task.episode(index) for index in range(len(task))]

    assert manifest.metadata["num_shards"] > 2
    assert all(file.bytes <= 20_000 + 10_240 for file in manifest.files)  # tar fills its last 10 kB record with zeros
    for episode in found:
        assert_equal(episode, token_episodes[episode.seed - 1])
    order = [episode.seed for episode in found]
    assert sorted(order) == list(range(1, 31)) != order
    assert task.episode_lengths.tolist() == task.seeds.tolist() == order
    assert task.total_returns.tolist() == [episode.total_return for episode in found]
    assert task.layout == {"action_tokens": 1}
    write(store, tokens, seed=1)
    assert store.read_task(TASK).seeds.tolist() != order


def test_any_stretch_of_steps_is_read_across_samples_and_shards(store: ShardStore, tokens: StoredTokens) -> None:
    write(store, tokens)
    task = store.read_task(TASK, cache_bytes=10_000)
    whole = [task.episode(index) for index in range(len(task))]
    rows = np.concatenate([one.tokens for one in whole])
    images = np.concatenate([one.images for one in whole if one.images is not None])
    offsets = np.cumsum([0, *(len(one) for one in whole)])

    assert task.num_transitions == len(rows)
    for first, last in [(0, 1), (0, len(rows)), (17, 90), (len(rows) - 1, len(rows)), (200, 203)]:
        found, shown = task.steps(first, last)
        np.testing.assert_array_equal(found, rows[first:last])
        np.testing.assert_array_equal(shown, images[first:last])
        near = task.episodes_near(first)
        assert near[0] <= first < near[-1]
        assert set(near) <= set(offsets)
    with pytest.raises(IndexError, match=r"expected 0\.\.464"):
        task.steps(460, 466)


def test_a_page_of_many_samples_is_read_at_once_and_the_places_of_few_are_remembered(
    store: ShardStore, tokens: StoredTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [episode.tokens for episode in (write(store, tokens), read_all(store))[1]]
    monkeypatch.setattr(storage.shard_tables, "_PAGE_SAMPLES", 2)
    monkeypatch.setattr(storage.shard_index, "_REMEMBERED", 3)
    write(store, tokens)

    task = store.read_task(TASK, cache_bytes=0)

    assert task.num_transitions == 465
    for index in [29, 3, 11, 0, 18]:
        np.testing.assert_array_equal(task.episode(index).tokens, whole[index])


def test_tasks_without_images_need_no_place_for_them(store: ShardStore, token_episodes: list[TokenEpisode]) -> None:
    plain = TokenStore(store.root + "-tokens")
    plain.write(TASK, {}, [replace(episode, images=None) for episode in token_episodes], recipe={}, metadata={})
    write(store, plain.read(TASK))

    assert store.read_task(TASK).episode(3).images is None


def test_rewriting_gives_equal_bytes_however_little_memory_there_is(
    tmp_path: Path, store: ShardStore, tokens: StoredTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store, tokens)
    monkeypatch.setattr(storage.shards, "_PASS_BYTES", 5000)
    second = write(ShardStore(str(tmp_path / "again")), tokens)

    assert first.files == second.files
    assert first.digest == second.digest


def test_plain_webdataset_and_tar_read_a_shard(
    tmp_path: Path, store: ShardStore, tokens: StoredTokens, token_episodes: list[TokenEpisode]
) -> None:
    webdataset: Any = pytest.importorskip("webdataset", reason="webdataset is not installed")
    manifest = write(store, tokens)
    shards = sorted((Path(store.root) / TASK / manifest.folder).glob("*.tar"))

    seeds = []
    for sample in webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False).decode():
        facts = sample["json"]
        values = np.frombuffer(Blosc().decode(sample["tokens.blosc"]), dtype="<u2").reshape(-1, facts["step_tokens"])
        images = np.frombuffer(Blosc().decode(sample["images.blosc"]), np.uint8).reshape(-1, *facts["image_shape"])
        for seed, stop in zip(facts["seeds"], np.cumsum(facts["lengths"]), strict=True):
            expected = token_episodes[seed - 1]
            np.testing.assert_array_equal(values[stop - len(expected) : stop], expected.tokens)
            np.testing.assert_array_equal(images[stop - len(expected) : stop], expected.images)
        seeds += facts["seeds"]
    assert seeds == store.read_task(TASK).seeds.tolist()

    listing = subprocess.run(["tar", "-xOf", shards[0], "00000000.json"], check=True, capture_output=True)
    assert json.loads(listing.stdout)["task"] == TASK


def test_webdatasets_own_writer_would_give_the_same_bytes(
    tmp_path: Path, store: ShardStore, tokens: StoredTokens
) -> None:
    webdataset: Any = pytest.importorskip("webdataset", reason="webdataset is not installed")
    manifest = write(store, tokens)
    ours = Path(store.root) / TASK / manifest.folder / "shard-000001.tar"
    theirs = tmp_path / "theirs.tar"
    with tarfile.open(ours) as tar, webdataset.TarWriter(str(theirs), encoder=False, mtime=0, user="", group="") as out:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for key in sorted({name.split(".")[0] for name in members}):
            out.write({"__key__": key} | {name[9:]: data for name, data in members.items() if name[:8] == key})

    assert ours.read_bytes() == theirs.read_bytes()


def test_a_damaged_shard_is_named_with_its_task_and_the_command(
    store: ShardStore, tokens: StoredTokens, damage: Callable[[Path], None]
) -> None:
    manifest = write(store, tokens)
    for file in manifest.files:
        path = Path(store.root) / TASK / manifest.folder / file.path
        sound = path.read_bytes()
        damage(path)
        with pytest.raises(ManifestError) as error:
            read_all(store)
        assert f"shards of task '{TASK}': {path} " in str(error.value)
        assert f"db1 make shards {TASK}" in str(error.value)
        assert store.find(TASK, manifest.recipe) is None
        path.write_bytes(sound)
    assert store.find(TASK, manifest.recipe) == manifest


def test_a_sound_part_of_a_damaged_task_can_be_read_but_not_verified(store: ShardStore, tokens: StoredTokens) -> None:
    manifest = write(store, tokens)
    store.write_index("demo", [TASK], recipe={}, metadata={})
    shard = Path(store.root) / TASK / manifest.folder / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    index = store.read("demo")

    index[TASK].episode(0)
    with pytest.raises(ManifestError, match=r"shard-000001\.tar is corrupt"):
        index.verify()


def test_an_index_reads_the_tasks_that_it_names_also_in_another_process(
    store: ShardStore, tokens: StoredTokens, token_episodes: list[TokenEpisode]
) -> None:
    for task in ("zoo/b", "zoo/a", "zoo/unused"):
        write(store, tokens, task=task)
    manifest = store.write_index("demo", ["zoo/b", "zoo/a"], recipe={"mixture": 1}, metadata={})
    index = pickle.loads(pickle.dumps(store.read("demo")))

    assert index.tasks == ("zoo/b", "zoo/a") == tuple(index)
    assert index.digest == manifest.digest
    assert (manifest.metadata["num_episodes"], manifest.metadata["num_tasks"]) == (60, 2)
    assert store.find_index("demo", {"mixture": 1}) == manifest
    assert store.find_index("demo", {"mixture": 2}) is None
    assert store.tasks() == ["zoo/a", "zoo/b", "zoo/unused"]
    assert_equal(index["zoo/a"].episode(5), token_episodes[index["zoo/a"].seeds[5] - 1])


def test_an_index_of_shards_that_changed_since_is_refused(store: ShardStore, tokens: StoredTokens) -> None:
    write(store, tokens, seed=0)
    store.write_index("demo", [TASK], recipe={}, metadata={})
    write(store, tokens, seed=1)

    assert store.find_index("demo", {}) is None
    with pytest.raises(
        ManifestError, match=rf"shard index 'demo': the shards of task '{TASK}' changed(.|\n)*shards --experiment demo"
    ):
        store.read("demo")
    with pytest.raises(ManifestError, match="shards of task 'zoo/absent'"):
        store.write_index("demo", ["zoo/absent"], recipe={}, metadata={})
    with pytest.raises(ValueError, match="each once"):
        store.write_index("demo", [TASK, TASK], recipe={}, metadata={})
