from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from storage.episode import Episode, Leaf, Schema
from storage.trajectories import TrajectoryStore
from tasks.catalogue import list_entries
from tasks.exchange import importing
from tasks.exchange.exporting import data_set_id, export_minari
from tasks.exchange.foreign import ForeignDataError
from tasks.exchange.importing import ImportedEpisodesError, find_imported, import_episodes
from tasks.filter import FilteredEpisodes, NothingToLearnError
from tasks.registry import get_task
from tasks.task import Task, open_environment

h5py = pytest.importorskip("h5py")
minari = pytest.importorskip("minari")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


class Drift(gymnasium.Env):
    """Three numbers that the action moves; five steps, each rewarded with the action's first number."""

    observation_space: spaces.Space = spaces.Box(-10.0, 10.0, (3,), np.float64)
    action_space: spaces.Space = spaces.Box(-2.0, 2.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.step_number = 0
        return np.zeros(3), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        return np.full(3, float(self.step_number)), float(action[0]), False, self.step_number == 5, {}


class OwnDrift(Drift):
    """The same in our form from the beginning."""

    observation_space = spaces.Dict({"position": spaces.Box(-1.0, 1.0, (3,), np.float32)})
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return {"position": np.float32(super().reset(seed=seed)[0])}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        state, reward, terminated, truncated, info = super().step(action)
        return {"position": np.float32(state / 10)}, reward, terminated, truncated, info


class SealedDrift(gymnasium.Wrapper):
    """Drift, scaled, by an environment that cannot say what it shows of a raw observation."""

    def __init__(self) -> None:
        super().__init__(Drift())
        self.observation_space, self.action_space = OwnDrift.observation_space, OwnDrift.action_space

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        return {"position": np.float32(self.env.reset(**options)[0] / 10)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        state, reward, terminated, truncated, info = self.env.step(2 * action)
        return {"position": np.float32(state / 10)}, float(reward), terminated, truncated, info


class ScaledDrift(SealedDrift):
    """One that can."""

    def observe(self, raw: Any) -> dict[str, Any]:
        return {"position": (np.asarray(raw) / 10).astype(np.float32)}

    def scale_action(self, raw: Any) -> Any:
        return np.asarray(raw, np.float32) / 2


class Zoo(gymnasium.Env):
    """An observation of every kind; nothing happens."""

    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (33, 40, 3), np.uint8),
            "mission": spaces.Text(40),
            "position": spaces.Box(-2.0, 2.0, (3,), np.float32),
            "view": spaces.MultiDiscrete([7, 7, 7, 7]),
        }
    )
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._seen(), 0.0, True, False, {}

    def _seen(self) -> dict[str, Any]:
        camera, position = np.zeros((33, 40, 3), np.uint8), np.zeros(3, np.float32)
        return {"camera": camera, "mission": "go", "position": position, "view": np.zeros(4, np.int64)}


def refuse_to_play() -> Any:
    raise AssertionError("the expert of an imported task does not play")


def make_task(name: str, environment: Callable[[], gymnasium.Env], **more: Any) -> Task:
    return Task(f"zoo/{name}", environment, refuse_to_play, "script", 4, "Nothing.", "MIT", "1", text_tokens=8, **more)


OWN, SCALED, SEALED, ZOO = (
    make_task(name, environment)
    for name, environment in (("own", OwnDrift), ("scaled", ScaledDrift), ("sealed", SealedDrift), ("all", Zoo))
)
ZOO_SCHEMA = Schema(
    {
        "camera": Leaf("image", (33, 40, 3)),
        "mission": Leaf("text", num_tokens=8),
        "position": Leaf("continuous", (3,), -2.0, 2.0),
        "view": Leaf("discrete", (4,), num_values=7),
    },
    Leaf("discrete", num_values=4),
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrajectoryStore:
    """An empty store; random plays nothing, which would take a process of its own at each import."""

    def measure(task: Task, num_episodes: int, **_: Any) -> dict[str, Any]:
        return {"random": {"mean": -5.0, "returns": [-5.0] * num_episodes, "seeds": list(range(num_episodes))}}

    monkeypatch.setattr(importing, "measure_reference_scores", measure)
    return TrajectoryStore(str(tmp_path / "trajectories"))


def draw_columns(num_steps: int = 12, *, every: int = 4, scale: float = 1.0) -> dict[str, Any]:
    """Return D4RL's columns: episodes of ``every`` steps, ended and cut off in turns."""
    random, last = np.random.default_rng(0), np.arange(num_steps) % every == every - 1
    odd = np.arange(num_steps) // every % 2 == 1
    return {
        "observations": random.uniform(-scale, scale, (num_steps, 3)),
        "actions": random.uniform(-scale, scale, (num_steps, 2)),
        "rewards": random.normal(size=num_steps).astype(np.float32),
        "terminals": last & ~odd,
        "timeouts": last & odd,
    }


def write_d4rl(path: Path, columns: Mapping[str, Any]) -> str:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return str(path)


def write_jat(path: Path, columns: Mapping[str, Any], every: int = 4) -> str:
    rows = range(0, len(columns["rewards"]), every)
    lists = {
        name: pa.array([np.asarray(values[row : row + every]).tolist() for row in rows])
        for name, values in columns.items()
    }
    pq.write_table(pa.table(lists), path)
    return str(path)


def as_jat(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "continuous_observations": columns["observations"],
        "continuous_actions": columns["actions"],
        "rewards": columns["rewards"],
    }


def make_zoo_episode(length: int) -> Episode:
    random = np.random.default_rng(length)
    return Episode(
        task=ZOO.id,
        seed=10 * length,
        observations={
            "camera": random.integers(0, 256, (length, 33, 40, 3), dtype=np.uint8),
            "mission": np.array([f"fetch {'ключ' if step < 3 else ''}" for step in range(length)], dtype=object),
            "position": random.uniform(-2, 2, (length, 3)).astype(np.float32),
            "view": random.integers(0, 7, (length, 4)),
        },
        actions=random.integers(0, 4, length),
        rewards=random.normal(size=length),
        terminated=length % 2 == 0,
        truncated=length % 2 == 1,
        provenance={"solver": "zoo", "tour": list(range(20_000 if length == 1 else length))},
    )


def assert_equal(found: Episode, expected: Episode) -> None:
    assert (found.task, found.seed, found.terminated, found.truncated) == (
        expected.task,
        expected.seed,
        expected.terminated,
        expected.truncated,
    )
    columns = [(found.observations[key], expected.observations[key]) for key in expected.observations]
    for mine, theirs in [*columns, (found.actions, expected.actions), (found.rewards, expected.rewards)]:
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


@pytest.fixture
def exported(store: TrajectoryStore, tmp_path: Path) -> tuple[list[Episode], Path]:
    """Episodes of every kind of observation, and the data set that they were exported to."""
    episodes = [make_zoo_episode(length) for length in range(1, 6)]
    scores = {name: {"mean": mean, "returns": [mean] * 20} for name, mean in (("random", -1.0), ("expert", 3.0))}
    facts = {"reference_scores": scores, "floor": "random", "expert_route": "script"}
    store.write(ZOO.id, ZOO_SCHEMA, episodes, recipe={"by": "hand"}, metadata=facts)
    return episodes, export_minari(store.read(ZOO.id), tmp_path / "exported")


def test_minari_reads_every_number_of_an_export(
    exported: tuple[list[Episode], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episodes, _ = exported
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "exported"))

    data_set = minari.load_dataset(data_set_id(ZOO.id))

    assert list(minari.list_local_datasets()) == ["db1/zoo/all-v0"]
    assert data_set.total_episodes == len(episodes)
    assert minari.get_normalized_score(data_set, np.array([-1.0, 3.0])).tolist() == [0.0, 1.0]
    assert data_set.storage.metadata["db1"]["reference_scores"]["expert"]["mean"] == 3.0
    told = list(data_set.storage.get_episode_metadata(range(len(episodes))))
    for read, expected, facts in zip(data_set.iterate_episodes(), episodes, told, strict=True):
        for key, values in expected.observations.items():
            assert len(read.observations[key]) == len(expected) + 1
            assert np.array_equal(np.asarray(read.observations[key][:-1]), values)
        assert np.array_equal(read.actions, expected.actions)
        assert np.array_equal(read.rewards, expected.rewards)
        assert read.terminations.tolist() == [False] * (len(expected) - 1) + [expected.terminated]
        assert read.truncations.tolist() == [False] * (len(expected) - 1) + [expected.truncated]
        assert (facts["seed"], json.loads(facts["provenance"])) == (expected.seed, expected.provenance)
        assert all(data_set.observation_space[key].contains(read.observations[key][0]) for key in read.observations)


def test_what_was_exported_comes_back_bit_by_bit(exported: tuple[list[Episode], Path], store: TrajectoryStore) -> None:
    episodes, folder = exported

    made = import_episodes(ZOO, str(folder), store, format="minari", replace=True)

    stored = store.read(ZOO.id)
    assert made.manifest == stored.manifest
    for found, expected in zip(stored, episodes, strict=True):
        assert_equal(found, expected)
        origin = found.provenance["imported_from"]
        assert {**expected.provenance, "imported_from": origin} == found.provenance
        assert origin["file"] == "main_data.hdf5"
    assert import_episodes(ZOO, str(folder), store, format="minari").found
    with pytest.raises(ForeignDataError, match="exported from another task"):
        import_episodes(OWN, str(folder), store, format="minari")
    with pytest.raises(FileExistsError, match="is there already"):
        export_minari(stored, folder.parents[2])


def test_a_minari_data_set_is_found_by_its_id_and_its_observations_are_scaled(
    store: TrajectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    random = np.random.default_rng(0)
    buffers = [
        minari.data_collector.EpisodeBuffer(
            seed=seed,
            observations=random.uniform(-1, 1, (6, 3)),
            actions=random.uniform(-2, 2, (5, 2)).astype(np.float32),
            rewards=[1.0] * 5,
            terminations=[False] * 5,
            truncations=[False] * 4 + [True],
        )
        for seed in (5, 6)
    ]
    spaces_of = {"observation_space": Drift.observation_space, "action_space": Drift.action_space}
    with pytest.warns(UserWarning, match="None"):
        minari.create_dataset_from_buffers("drift/expert-v0", buffers, **spaces_of)

    import_episodes(SCALED, "drift/expert-v0", store, format="minari", limit=1)

    (episode,) = store.read(SCALED.id)
    assert episode.seed == 5
    assert np.array_equal(episode.observations["position"], np.float32(buffers[0].observations[:-1] / 10))
    assert np.array_equal(episode.actions, buffers[0].actions / 2)
    assert (episode.terminated, episode.truncated) == (False, True)
    with pytest.raises(ForeignDataError, match=r"main_data.hdf5, episode 0, .*-2..2; .*in -1..1; .*scale_action"):
        import_episodes(OWN, "drift/expert-v0", store, format="minari")


def test_d4rl_is_split_where_episodes_end_and_the_rest_is_left_out_and_told(
    store: TrajectoryStore, tmp_path: Path
) -> None:
    columns = draw_columns(14)
    source = write_d4rl(tmp_path / "drift.hdf5", {**columns, "infos/qpos": np.zeros(14), "metadata/algorithm": "SAC"})

    made = import_episodes(OWN, source, store, format="d4rl").manifest

    episodes = list(store.read(OWN.id))
    assert [len(episode) for episode in episodes] == [4, 4, 4]
    assert made.metadata["imported"]["steps_left_out"] == 2
    assert [(one.terminated, one.truncated) for one in episodes] == [(True, False), (False, True), (True, False)]
    assert [one.seed for one in episodes] == [-1, -2, -3]
    for name, values in (("position", "observations"), ("actions", "actions"), ("rewards", "rewards")):
        found = [one.observations[name] if name == "position" else getattr(one, name) for one in episodes]
        assert np.array_equal(np.concatenate(found), columns[values][:12].astype(found[0].dtype))
    expert = made.metadata["reference_scores"]["expert"]
    assert expert["returns"] == [one.total_return for one in episodes]
    assert (expert["paired"], made.metadata["expert_route"]) == (False, "imported")
    (entry,) = list_entries([OWN], store.root)
    assert entry.expert_route == "imported"
    assert "3 episodes of the expert or random, on unequal seeds" in entry.doubt


def test_jat_files_are_read_in_the_order_of_their_names(store: TrajectoryStore, tmp_path: Path) -> None:
    columns = as_jat(draw_columns(24))
    for number, part in ((1, slice(12, 24)), (0, slice(0, 12))):
        write_jat(tmp_path / f"train-0000{number}.parquet", {name: values[part] for name, values in columns.items()})

    import_episodes(OWN, str(tmp_path), store, format="jat")

    episodes = list(store.read(OWN.id))
    assert np.array_equal(
        np.concatenate([one.observations["position"] for one in episodes]),
        columns["continuous_observations"].astype(np.float32),
    )
    assert [
        (one.provenance["imported_from"]["file"], one.provenance["imported_from"]["episode"]) for one in episodes
    ] == [(f"train-0000{file}.parquet", index) for file in (0, 1) for index in (0, 1, 2)]


def test_jat_columns_are_matched_by_the_kind_of_their_values(store: TrajectoryStore, tmp_path: Path) -> None:
    import io

    from PIL import Image

    def encode(picture: Any) -> dict[str, Any]:
        content = io.BytesIO()
        Image.fromarray(picture).save(content, format="PNG")
        return {"bytes": content.getvalue(), "path": None}

    episode = make_zoo_episode(4)
    seen = episode.observations
    columns = {
        "image_observations": pa.array([[encode(picture) for picture in seen["camera"]]]),
        "text_observations": pa.array([seen["mission"].tolist()]),
        "continuous_observations": pa.array([seen["position"].tolist()]),
        "discrete_observations": pa.array([seen["view"].tolist()]),
        "discrete_actions": pa.array([episode.actions.tolist()]),
        "rewards": pa.array([episode.rewards.tolist()]),
    }
    pq.write_table(pa.table(columns), tmp_path / "zoo.parquet")

    import_episodes(ZOO, str(tmp_path / "zoo.parquet"), store, format="jat")

    (found,) = store.read(ZOO.id)
    assert_equal(found, replace(episode, seed=-1, terminated=False))


def spoil(columns: dict[str, Any], name: str, place: Any, value: float) -> dict[str, Any]:
    columns[name][place] = value
    return columns


@pytest.mark.parametrize(
    "columns, fault",
    [
        (
            spoil(draw_columns(), "observations", (5, 1), math.nan),
            r"episode 1, column 'observations', step 1 at \[1\].*nan",
        ),
        (spoil(draw_columns(), "rewards", 9, math.inf), r"episode 2, column 'rewards', step 1.*inf"),
        (spoil(draw_columns(), "actions", (0, 0), 1.5), r"episode 0, column 'actions', step 0.*1\.5.*-1\.\.1.*--clip"),
        (
            spoil(draw_columns(), "observations", (0, 0), 7.0),
            r"episode 0, column 'observations', step 0.*7\.0.*-1\.\.1",
        ),
        (draw_columns() | {"actions": np.zeros((12, 3))}, r"column 'actions': found float64 of shape \(3,\).*\(2,\)"),
        (
            draw_columns() | {"observations": np.zeros((12, 4))},
            r"found float64 of shape \(4,\).*float32 of shape \(3,\)",
        ),
        (draw_columns() | {"actions": np.zeros((11, 2))}, r"'actions': 11.*the same number of steps"),
        (draw_columns() | {"goals": np.zeros(12)}, r"unknown columns \['goals'\]"),
        ({name: values for name, values in draw_columns().items() if name != "timeouts"}, "nothing says where"),
    ],
)
def test_a_fault_in_d4rl_is_named_by_file_episode_and_column(
    columns: dict[str, Any], fault: str, store: TrajectoryStore, tmp_path: Path
) -> None:
    source = write_d4rl(tmp_path / "drift.hdf5", columns)

    with pytest.raises(ForeignDataError, match=rf"drift\.hdf5.*{fault}"):
        import_episodes(OWN, source, store, format="d4rl")
    assert store.tasks() == []


@pytest.mark.parametrize(
    "columns, fault",
    [
        (
            spoil(as_jat(draw_columns()), "continuous_actions", (4, 0), math.nan),
            r"episode 1, column 'continuous_actions'",
        ),
        (as_jat(draw_columns()) | {"dones": np.zeros(12)}, r"unknown columns \['dones'\]"),
        ({"continuous_observations": np.zeros((4, 3)), "rewards": np.zeros(4)}, "one of actions"),
        (as_jat(draw_columns()) | {"rewards": np.zeros(9)}, r"episode 2: found columns of \{.*'rewards': 1\}"),
        (as_jat(draw_columns()) | {"discrete_observations": np.zeros((12, 1), int)}, r"zoo/own.*observe\(raw\)"),
    ],
)
def test_a_fault_in_jat_is_named_by_file_episode_and_column(
    columns: dict[str, Any], fault: str, store: TrajectoryStore, tmp_path: Path
) -> None:
    with pytest.raises(ForeignDataError, match=rf"drift\.parquet.*{fault}"):
        import_episodes(OWN, write_jat(tmp_path / "drift.parquet", columns), store, format="jat")


@pytest.mark.parametrize("format", ["d4rl", "jat", "minari"])
def test_a_file_that_is_cut_short_is_named(
    format: str, exported: tuple[list[Episode], Path], store: TrajectoryStore, tmp_path: Path
) -> None:
    source = {
        "d4rl": lambda: write_d4rl(tmp_path / "cut", draw_columns()),
        "jat": lambda: write_jat(tmp_path / "cut", as_jat(draw_columns())),
        "minari": lambda: str(exported[1]),
    }[format]()
    path = Path(source) / "data" / "main_data.hdf5" if format == "minari" else Path(source)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ForeignDataError, match=rf"{path}.*fetch it again"):
        import_episodes(OWN if format != "minari" else ZOO, source, store, format=format, replace=True)


def test_raw_observations_are_refused_where_nothing_says_how_they_are_shown(
    store: TrajectoryStore, tmp_path: Path
) -> None:
    source = write_d4rl(tmp_path / "drift.hdf5", draw_columns())

    with pytest.raises(
        ForeignDataError, match=r"float64 of shape \(3,\).*Dict\('position'.*SealedDrift.*observe\(raw\)"
    ):
        import_episodes(SEALED, source, store, format="d4rl")
    wide = write_d4rl(tmp_path / "wide.hdf5", draw_columns() | {"observations": np.zeros((12, 1))})
    with pytest.raises(ForeignDataError, match=r"float64 of shape \(1,\).*Box\(-10.0, 10.0, \(3,\)"):
        import_episodes(SCALED, wide, store, format="d4rl")


def test_actions_are_clipped_only_when_asked_and_counted(store: TrajectoryStore, tmp_path: Path) -> None:
    columns = spoil(spoil(draw_columns(), "actions", (0, 0), 1.5), "actions", (1, 1), -20.0)

    import_episodes(OWN, write_d4rl(tmp_path / "drift.hdf5", columns), store, format="d4rl", clip_actions=True)

    first, second, _ = store.read(OWN.id)
    assert (first.actions[0, 0], first.actions[1, 1]) == (1.0, -1.0)
    assert first.provenance["imported_from"]["clipped_actions"] == 2
    assert "clipped_actions" not in second.provenance["imported_from"]


def test_equal_files_give_an_equal_digest_and_other_trajectories_are_replaced_only_when_asked(
    store: TrajectoryStore, tmp_path: Path
) -> None:
    source = write_d4rl(tmp_path / "drift.hdf5", draw_columns())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "drift.hdf5").write_bytes(Path(source).read_bytes())

    first = import_episodes(OWN, source, store, format="d4rl")
    again = import_episodes(OWN, str(tmp_path / "elsewhere" / "drift.hdf5"), store, format="d4rl")

    assert (first.found, again.found) == (False, True)
    with pytest.raises(ValueError, match="add --replace"):
        import_episodes(OWN, source, store, format="d4rl", limit=2)
    fewer = import_episodes(OWN, source, store, format="d4rl", limit=2, replace=True).manifest
    assert fewer.metadata["num_episodes"] == 2
    assert fewer.digest != first.manifest.digest


def test_imported_episodes_are_found_and_told_when_they_cannot_be_used(store: TrajectoryStore, tmp_path: Path) -> None:
    source = write_d4rl(tmp_path / "drift.hdf5", draw_columns())
    assert find_imported(OWN, store) is None
    made = import_episodes(OWN, source, store, format="d4rl").manifest
    assert find_imported(OWN, store) == made

    with pytest.raises(ImportedEpisodesError, match=f"(?s)version '1'.*expected '2'.*db1 import {source} --as zoo/own"):
        find_imported(replace(OWN, code_version="2"), store)
    damaged = Path(store.root, OWN.id, made.folder, "zarr.json")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ImportedEpisodesError, match=r"(?s)damaged.*--replace-imported"):
        find_imported(OWN, store)


def store_returns(store: TrajectoryStore, returns: list[float], random: float) -> None:
    schema = Schema({"position": Leaf("continuous", (3,), -1, 1)}, Leaf("discrete", num_values=2))
    episodes = [
        Episode(
            OWN.id, seed, {"position": np.zeros((1, 3), np.float32)}, np.zeros(1, int), np.array([one]), True, False
        )
        for seed, one in enumerate(returns)
    ]
    facts = {"reference_scores": {"random": {"mean": random}}, "floor": "random"}
    store.write(OWN.id, schema, episodes, recipe={}, metadata=facts)


def test_episodes_below_a_share_of_the_way_from_the_floor_to_the_best_window_are_dropped(
    store: TrajectoryStore,
) -> None:
    returns = [-100.0, -10.0, *[-20.0] * 15, -10.0, -10.0, -28.0]  # windows of two: the best mean is -10
    store_returns(store, returns, random=-100.0)

    good = FilteredEpisodes(store.read(OWN.id), 0.8)

    assert [one.total_return for one in good] == [one for one in returns if one >= -28]
    assert good[1].seed == 2
    assert dict(good.facts()) == {
        "episodes_kept": 19,
        "episodes_dropped": 1,
        "minimum_return": -28.0,
        "expert_return": -10.0,
        "floor_return": -100.0,
    }
    assert len(FilteredEpisodes(store.read(OWN.id))) == 20
    with pytest.raises(ValueError, match=r"is 80.*expected 0\.\.1"):
        FilteredEpisodes(store.read(OWN.id), 80)


def test_equal_returns_are_all_kept_and_none_when_chance_is_as_good(store: TrajectoryStore) -> None:
    store_returns(store, [0.1] * 30, random=0.0)
    assert len(FilteredEpisodes(store.read(OWN.id), 1.0)) == 30

    store_returns(store, [0.1] * 30, random=0.1)
    with pytest.raises(NothingToLearnError, match=r"zoo/own.*no episode can be kept.*0.1"):
        FilteredEpisodes(store.read(OWN.id), 0.8)


def test_raw_numbers_of_a_robot_become_what_its_environment_shows(store: TrajectoryStore, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    task = get_task("mujoco/InvertedPendulum")
    environment = gymnasium.make("InvertedPendulum-v5")
    state, _ = environment.reset(seed=3)
    shown = open_environment(task)
    expected, _ = shown.reset(seed=3)
    seen, actions, rewards, views = [], [], [], []
    for force in (1.5, -3.0, 3.0):
        seen.append(state)
        views.append(expected["observation"])
        actions.append([force])
        state, reward, *_ = environment.step(np.array([force], np.float32))
        expected, *_ = shown.step(np.array([force / 3], np.float32))
        rewards.append(reward)
    columns = {
        "observations": seen,
        "actions": actions,
        "rewards": rewards,
        "terminals": [0, 0, 0],
        "timeouts": [0, 0, 1],
    }

    import_episodes(task, write_d4rl(tmp_path / "pole.hdf5", columns), store, format="d4rl")

    (episode,) = store.read(task.id)
    assert np.array_equal(episode.observations["observation"], np.stack(views))
    assert episode.actions.ravel().tolist() == [0.5, -1.0, 1.0]
