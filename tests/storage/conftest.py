from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import storage.packing
from storage.episode import Episode, Leaf, Schema
from storage.locations import Locations
from storage.shards import ShardStore
from storage.tokens import TokenEpisode, TokenStore
from storage.trajectories import TrajectoryStore

TASK = "zoo/all-kinds"


@pytest.fixture
def schema() -> Schema:
    """A task with an observation of every kind."""
    return Schema(
        observations={
            "position": Leaf("continuous", (3,), low=-2.0, high=2.0),
            "speed": Leaf("continuous", (2,)),
            "view": Leaf("discrete", (2, 2), num_values=7),
            "camera": Leaf("image", (4, 5, 3)),
            "mission": Leaf("text", num_tokens=8),
        },
        action=Leaf("discrete", num_values=4),
    )


@pytest.fixture
def episodes() -> list[Episode]:
    """Twelve episodes of ``schema`` of 1 to 12 steps."""
    return [make_episode(length) for length in range(1, 13)]


@pytest.fixture
def token_episodes() -> list[TokenEpisode]:
    """Thirty tokenized episodes of 1 to 30 steps of 5 tokens, with images."""
    random = np.random.default_rng(0)
    return [
        TokenEpisode(
            tokens=random.integers(0, 2**16, size=(length, 5), dtype=np.uint16),
            images=random.integers(0, 256, size=(length, 4, 4, 3), dtype=np.uint8),
            seed=length,
            total_return=length / 7,
        )
        for length in range(1, 31)
    ]


@pytest.fixture(params=["flip", "truncate", "delete"])
def damage(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Something bad that happens to a file."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def truncate(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-1])

    return {"flip": flip, "truncate": truncate, "delete": Path.unlink}[request.param]


@pytest.fixture
def fill_root(
    schema: Schema, episodes: list[Episode], token_episodes: list[TokenEpisode], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Writes trajectories, tokens and shards of two small tasks below a data root, and an index of the shards."""
    monkeypatch.setattr(storage.packing, "SAMPLE_BYTES", 1000)

    def fill(root: str, *, version: int = 0, tasks: tuple[str, ...] = ("zoo/a", "zoo/b")) -> None:
        places, recipe = Locations(root), {"version": version}
        tokens, shards = TokenStore(places.tokens), ShardStore(places.shards)
        for task in tasks:
            played = [replace(one, task=task, rewards=one.rewards + version) for one in episodes[:4]]
            TrajectoryStore(places.trajectories).write(task, schema, played, recipe=recipe, metadata={})
            encoded = [replace(one, tokens=one.tokens ^ np.uint16(version)) for one in token_episodes[:9]]
            tokens.write(task, {}, encoded, recipe=recipe, metadata={})
            shards.write(task, tokens.read(task), recipe=recipe, seed=version, shard_bytes=12_000)
        shards.write_index("demo", tasks, recipe=recipe, metadata={})

    return fill


@pytest.fixture
def read_root() -> Callable[[str, str, str], list[Any]]:
    """Reads everything of a thing that ``fill_root`` wrote, as a list that can be compared."""
    return _read


def _read(root: str, kind: str, name: str) -> list[Any]:
    places = Locations(root)
    if kind == "trajectories":
        return [
            _plain(vars(one) | vars(one)["observations"]) for one in TrajectoryStore(places.trajectories).read(name)
        ]
    if kind == "tokens":
        return [_plain(vars(one)) for one in TokenStore(places.tokens).read(name)]
    index = ShardStore(places.shards).read("demo")
    return [_plain(vars(task.episode(i))) for task in index.values() for i in range(len(task))]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
        if name != "observations"
    }


def make_episode(length: int) -> Episode:
    random = np.random.default_rng(length)
    mission = np.array([f"fetch the {'ключ' if step < 3 else ''}" for step in range(length)])
    return Episode(
        task=TASK,
        seed=10 * length,
        observations={
            "position": random.uniform(-2, 2, size=(length, 3)).astype(np.float32),
            "speed": random.normal(scale=1e6, size=(length, 2)).astype(np.float32),
            "view": random.integers(0, 7, size=(length, 2, 2)),
            "camera": random.integers(0, 256, size=(length, 4, 5, 3), dtype=np.uint8),
            "mission": mission,
        },
        actions=random.integers(0, 4, size=length),
        rewards=random.normal(size=length),
        terminated=length % 2 == 0,
        truncated=length % 2 == 1,
        provenance={"solver": "zoo", "bound": 0.1 * length},
    )
