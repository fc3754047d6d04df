from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import storage.blocks
from storage.episode import Episode, Leaf, Schema
from storage.manifest import Manifest, ManifestError
from storage.trajectories import TrajectoryStore

TASK, RECIPE = "zoo/all-kinds", {"version": "1"}
COMMAND = "db1 make trajectories zoo/all-kinds"


def write(root: Path, schema: Schema, episodes: list[Episode]) -> Manifest:
    return TrajectoryStore(str(root)).write(TASK, schema, iter(episodes), recipe=RECIPE, metadata={})


def assert_equal(found: Episode, expected: Episode) -> None:
    for key, values in expected.observations.items():
        np.testing.assert_array_equal(found.observations[key], values)
        if values.dtype.kind != "U":
            assert found.observations[key].dtype == values.dtype
    np.testing.assert_array_equal(found.actions, expected.actions)
    np.testing.assert_array_equal(found.rewards, expected.rewards)
    assert found.actions.dtype == expected.actions.dtype
    for name in ("task", "seed", "terminated", "truncated", "provenance", "total_return"):
        assert getattr(found, name) == getattr(expected, name)


def test_episodes_come_back_as_they_were_stored(tmp_path: Path, schema: Schema, episodes: list[Episode]) -> None:
    store = TrajectoryStore(str(tmp_path))
    manifest = store.write(TASK, schema, iter(episodes), recipe=RECIPE, metadata=lambda: {"floor": "random"})
    stored = store.read(TASK)

    for found, expected in zip(stored, episodes, strict=True):
        assert_equal(found, expected)
    assert_equal(stored[-1], episodes[-1])
    assert len(stored[2:4]) == 2
    assert stored.schema == schema
    assert stored.episode_lengths.tolist() == list(range(1, 13))
    assert stored.total_returns.tolist() == [episode.total_return for episode in episodes]
    assert stored.manifest == manifest == store.find(TASK, RECIPE)
    assert manifest.metadata == {"floor": "random", "num_episodes": 12, "num_transitions": 78}
    assert store.tasks() == [TASK]


def test_continuous_actions_come_back_too(tmp_path: Path) -> None:
    schema = Schema({"x": Leaf("continuous", (1,))}, Leaf("continuous", (2,), low=-1, high=1))
    actions = np.array([[-1, 1], [0.5, 0]], dtype=np.float32)
    episode = Episode(TASK, 1, {"x": np.zeros((2, 1), np.float32)}, actions, np.zeros(2), True, False)
    write(tmp_path, schema, [episode])

    assert_equal(TrajectoryStore(str(tmp_path)).read(TASK)[0], episode)


def test_episodes_come_back_in_any_order_from_small_blocks(
    tmp_path: Path, schema: Schema, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.blocks, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(storage.blocks, "CACHE_BYTES", 2000)
    write(tmp_path, schema, episodes)
    stored = TrajectoryStore(str(tmp_path)).read(TASK)

    for index in np.random.default_rng(0).permutation(np.repeat(np.arange(12), 2)):
        assert_equal(stored[int(index)], episodes[index])


def test_long_documents_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.blocks, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(storage.blocks, "_EPISODES_AT_ONCE", 3)
    texts = ["é" * (5 if number < 5 else 495) for number in range(8)]
    documents = [
        Episode(TASK, seed, {}, np.array([text], object), np.zeros(1), True, False, {"from": f"line {seed}"})
        for seed, text in enumerate(texts)
    ]
    write(tmp_path, Schema({}, Leaf("text")), documents)
    stored = TrajectoryStore(str(tmp_path)).read(TASK)

    assert [str(one.actions[0]) for one in stored] == texts
    assert [one.provenance for one in stored] == [one.provenance for one in documents]
    assert stored._blocks._block_of.tolist() == [0, 0, 0, 0, 0, 0, 1, 2]


def test_equal_episodes_give_equal_bytes(tmp_path: Path, schema: Schema, episodes: list[Episode]) -> None:
    first, second = write(tmp_path / "a", schema, episodes), write(tmp_path / "b", schema, episodes)

    assert first.files == second.files
    assert first.digest == second.digest
    assert write(tmp_path / "b", schema, episodes[1:]).digest != first.digest


def test_plain_zarr_reads_the_group_without_a_warning(
    tmp_path: Path, schema: Schema, episodes: list[Episode], recwarn: pytest.WarningsRecorder
) -> None:
    manifest = write(tmp_path, schema, episodes)
    group: Any = zarr.open_group(tmp_path / TASK / manifest.folder, mode="r")

    start, stop = group["episode_offsets"][4:6]
    np.testing.assert_array_equal(group["observations/speed"][start:stop], episodes[4].observations["speed"])
    begin, end = group["observations/mission/ends"][start - 1 : start + 1]
    assert bytes(group["observations/mission/utf8"][begin:end]).decode() == "fetch the ключ"
    assert Schema.from_json(group.attrs["schema"]) == schema
    assert not recwarn.list


def changed(episode: Episode, key: str, step: int, value: Any) -> Episode:
    if key in ("actions", "rewards"):
        values = getattr(episode, key).copy()
        values[step] = value
        return replace(episode, **{key: values})
    values = episode.observations[key].copy()
    values[step] = value
    return replace(episode, observations={**episode.observations, key: values})


@pytest.mark.parametrize(
    "key, value, name, found",
    [
        ("speed", np.nan, "observation 'speed'", "nan"),
        ("speed", -np.inf, "observation 'speed'", "-inf"),
        ("position", 2.5, "observation 'position'", "2.5"),
        ("view", 7, "observation 'view'", "7"),
        ("view", -1, "observation 'view'", "-1"),
        ("actions", 4, "action", "4"),
        ("rewards", np.nan, "reward", "nan"),
    ],
)
def test_a_number_out_of_range_is_refused_by_task_episode_step_and_key(
    tmp_path: Path, schema: Schema, episodes: list[Episode], key: str, value: float, name: str, found: str
) -> None:
    before = write(tmp_path, schema, episodes)
    episodes[6] = changed(episodes[6], key, 3, value)

    with pytest.raises(ValueError, match=rf"episode 6 \(seed 70\) of task '{TASK}', {name}, step 3") as error:
        write(tmp_path, schema, episodes)
    assert f"found {found}," in str(error.value)
    assert COMMAND in str(error.value)
    assert TrajectoryStore(str(tmp_path)).read(TASK).manifest == before


def test_values_of_another_dtype_or_shape_or_task_are_refused(
    tmp_path: Path, schema: Schema, episodes: list[Episode]
) -> None:
    good = episodes[3]
    for bad, match in [
        (replace(good, actions=good.actions.astype(np.int32)), "action: found int32"),
        (replace(good, task="zoo/other"), "found task 'zoo/other'"),
        (replace(good, observations={**good.observations, "view": good.observations["view"][:, :1]}), r"\(1, 2\) a st"),
        (replace(good, observations={**good.observations, "extra": good.actions}), r"observations \['camera', 'extra'"),
        (replace(good, observations={**good.observations, "mission": good.actions}), "'mission', step 0: found"),
    ]:
        with pytest.raises(ValueError, match=match):
            write(tmp_path, schema, [bad])
    with pytest.raises(ValueError, match="no episodes of task"):
        write(tmp_path, schema, [])
    with pytest.raises(ValueError, match=r"'action' of task .* found 5000 values, expected 1..1024"):
        write(tmp_path, replace(schema, action=Leaf("discrete", num_values=5000)), episodes)


def read_all(store: TrajectoryStore) -> tuple[list[Episode], list[float]]:
    stored = store.read(TASK)
    return list(stored), stored.total_returns.tolist()


def test_a_damaged_file_is_never_read(
    tmp_path: Path, schema: Schema, episodes: list[Episode], damage: Callable[[Path], None]
) -> None:
    store = TrajectoryStore(str(tmp_path))
    data = tmp_path / TASK / write(tmp_path, schema, episodes).folder
    for path in [*data.glob("**/c/**/0"), data / "zarr.json", data / "actions" / "zarr.json"]:
        if not path.is_file():
            continue
        sound = path.read_bytes()
        damage(path)
        with pytest.raises(ManifestError) as error:
            read_all(store)
        assert str(path) in str(error.value)
        assert COMMAND in str(error.value)
        assert store.find(TASK, RECIPE) is None
        path.write_bytes(sound)
    assert store.find(TASK, RECIPE) is not None


def test_a_writer_killed_among_its_episodes_leaves_the_old_ones(
    tmp_path: Path, schema: Schema, episodes: list[Episode]
) -> None:
    before = write(tmp_path, schema, episodes)
    script = """
import os, signal, sys
from storage.trajectories import TrajectoryStore
store = TrajectoryStore(sys.argv[1])
old = store.read("zoo/all-kinds")
def episodes():
    yield from old[:5]
    print(len(os.listdir(os.path.join(sys.argv[1], "zoo/all-kinds/.partial"))), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
store.write("zoo/all-kinds", old.schema, episodes(), recipe={"version": "2"}, metadata={})
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)

    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0
    store = TrajectoryStore(str(tmp_path))
    assert store.find(TASK, RECIPE) == before
    assert [len(episode) for episode in store.read(TASK)] == list(range(1, 13))
    write(tmp_path, schema, episodes[:2])
    assert not (tmp_path / TASK / ".partial").exists()
    assert len(list((tmp_path / TASK).iterdir())) == 3
