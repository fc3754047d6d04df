from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode, Leaf, Schema
from storage.tokens import TokenEpisode

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
