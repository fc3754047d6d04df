from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db1_model.config import ModelConfig
from db1_model.layout import StepLayout
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema
from storage.tokens import TokenEpisode

UNBOUNDED = Leaf("continuous", (5,), -np.inf, np.inf)
ANSWER = Leaf("text", num_tokens=8)
SCHEMAS = {
    "vector": Schema({"state": UNBOUNDED}, Leaf("continuous", (2,), -1, 1)),
    "mixed": Schema(
        {
            "mission": Leaf("text", num_tokens=6),
            "view": Leaf("discrete", (9,), num_values=40),
            "angles": Leaf("continuous", (3,), -1, 1),
            "speed": Leaf("continuous", (2,), -np.inf, np.inf),
        },
        Leaf("discrete", num_values=7),
    ),
    "answer": Schema({"question": Leaf("text", num_tokens=6), "angles": Leaf("continuous", (3,), -1, 1)}, ANSWER),
    "image": Schema({"frame": Leaf("image", (32, 48, 3)), "state": UNBOUNDED}, Leaf("discrete", num_values=5)),
}
"""A zoo of small tasks: every kind of observation and action is in one of them."""


@dataclass
class MemoryTask:
    """Tokenized episodes in memory, with what ``storage.shards.ShardedTask`` offers."""

    layout: dict[str, Any]
    episodes: Sequence[TokenEpisode]

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        return np.array([len(episode) for episode in self.episodes])

    @property
    def total_returns(self) -> NDArray[np.float64]:
        return np.array([episode.total_return for episode in self.episodes])

    @property
    def num_transitions(self) -> int:
        return int(self.episode_lengths.sum())

    def steps(self, first: int, last: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        images = [episode.images for episode in self.episodes if episode.images is not None]
        rows = np.concatenate([episode.tokens for episode in self.episodes])
        return rows[first:last], np.concatenate(images)[first:last] if images else None

    def episodes_near(self, step: int) -> list[int]:
        return np.cumsum([0, *self.episode_lengths]).tolist()

    def episode(self, index: int) -> TokenEpisode:
        return self.episodes[index]


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(["go to the red ball", "open the blue door"], 1024)


@pytest.fixture(scope="session")
def vocabulary(tokenizer: TextTokenizer) -> Vocabulary:
    return Vocabulary(1024, tokenizer_digest=tokenizer.digest)


@pytest.fixture(scope="session")
def schemas() -> dict[str, Schema]:
    return SCHEMAS


@pytest.fixture(params=["tokens", "embedded"])
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return make_config(request.param)


@pytest.fixture(scope="session")
def make_task(tokenizer: TextTokenizer, vocabulary: Vocabulary) -> Callable[[str, Sequence[int]], MemoryTask]:
    """Makes a task of a kind, with episodes of these lengths; episode i has the return i."""

    def make(kind: str, lengths: Sequence[int]) -> MemoryTask:
        layout = StepLayout.from_schema(SCHEMAS[kind], vocabulary)
        episodes = [make_episode(kind, length, seed=index, total_return=index) for index, length in enumerate(lengths)]
        return MemoryTask(
            layout.to_json(), [encode_episode(episode, layout, tokenizer, vocabulary) for episode in episodes]
        )

    return make


@pytest.fixture(scope="session", name="make_episode")
def make_episode_fixture() -> Callable[..., Episode]:
    return make_episode


def make_config(encoding: str, context_length: int = 64) -> ModelConfig:
    return ModelConfig(
        num_layers=1,
        width=32,
        num_heads=2,
        context_length=context_length,
        memory_length=context_length,
        text_vocab_size=1024,
        encoding="embedded" if encoding == "embedded" else "tokens",
        numbers_per_position=4,
        dropout=0.0,
    )


def make_episode(kind: str, length: int, *, seed: int, total_return: float = 0.0) -> Episode:
    rng = np.random.default_rng([seed, length])
    schema = SCHEMAS[kind]
    observations = {key: draw(leaf, length, rng) for key, leaf in schema.observations.items()}
    rewards = np.full(length, total_return / length)
    return Episode(f"zoo/{kind}", seed, observations, draw(schema.action, length, rng), rewards, True, False)


def draw(leaf: Leaf, length: int, rng: np.random.Generator) -> NDArray[Any]:
    if leaf.kind == "text":
        return np.array([["go to the red ball", "open the door"][step % 2] for step in range(length)], object)
    if leaf.kind == "image":
        return rng.integers(0, 256, (length, *leaf.shape), dtype=np.uint8)
    if leaf.kind == "discrete":
        return rng.integers(0, leaf.num_values, (length, *leaf.shape))
    spread = 1.0 if leaf.high <= 1 else 100.0
    return rng.uniform(-spread, spread, (length, *leaf.shape)).astype(np.float32)
