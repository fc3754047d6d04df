from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from assets.catalogue import catalogue
from assets.resources import Experiment, Stores
from db1_model.checkpoint import save_checkpoint
from db1_model.config import ModelConfig
from db1_model.layout import StepLayout
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema
from storage.folder import StoredFolder
from storage.locations import Locations
from storage.manifest import FORMAT_VERSION
from storage.shard_tables import EPISODE_ROW, SAMPLE_ROW
from storage.shards import ShardStore
from storage.tokens import TokenStore
from storage.trajectories import TrajectoryStore
from tasks.catalogue import Entry
from tasks.registry import get_task
from tasks.specialists.expert import KIND, NETWORK, specialist_recipe
from tasks.specialists.network import Network

DOCUMENT = Path(__file__).parents[2] / "docs" / "format.md"
TASK, EXPERIMENT, TRAINED = "babyai/OpenRedDoor", "demo", "mujoco/Hopper"
SCHEMA = Schema(
    {
        "mission": Leaf("text", num_tokens=6),
        "view": Leaf("discrete", (2, 2), num_values=40),
        "angles": Leaf("continuous", (3,), -1, 1),
        "speed": Leaf("continuous", (2,)),
    },
    Leaf("discrete", num_values=7),
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with ``data/``: one task through all stages, and a model and a specialist that nobody trained."""
    places, rng = Locations(str(tmp_path / "data")), np.random.default_rng(0)
    tokenizer = TextTokenizer.train(["öffne die rote Tür"], 1024)
    vocabulary = Vocabulary(1024, tokenizer_digest=tokenizer.digest)

    def play(seed: int, steps: int) -> Episode:
        seen = {
            "mission": np.array(["öffne die rote Tür", "open it"] * steps, object)[:steps],
            "view": rng.integers(0, 40, (steps, 2, 2)),
            "angles": rng.uniform(-1, 1, (steps, 3)).astype(np.float32),
            "speed": rng.uniform(-9, 9, (steps, 2)).astype(np.float32),
        }
        provenance = {"solver": "by hand"}
        return Episode(TASK, seed, seen, rng.integers(0, 7, steps), np.ones(steps), True, False, provenance)

    episodes = [play(seed, steps) for seed, steps in enumerate((4, 2, 9))]
    trajectories = TrajectoryStore(places.trajectories).write(TASK, SCHEMA, episodes, recipe={"seed": 0}, metadata={})
    layout, tokens = StepLayout.from_schema(SCHEMA, vocabulary), TokenStore(places.tokens)
    encoded = [encode_episode(episode, layout, tokenizer, vocabulary) for episode in episodes]
    recipe = {"trajectories": trajectories.digest, "vocabulary": vocabulary.to_json()}
    made = tokens.write(TASK, layout.to_json(), encoded, recipe=recipe, metadata={})
    shards = ShardStore(places.shards)
    shards.write(TASK, tokens.read(TASK), recipe={"tokens": made.digest}, seed=0)
    index = shards.write_index(EXPERIMENT, [TASK], recipe={}, metadata={"vocabulary": vocabulary.to_json()})
    folder = StoredFolder(places.checkpoints, "checkpoint", EXPERIMENT)
    model = DB1(ModelConfig(1, 16, 2, 32, 32, 1024))
    save_checkpoint(folder, model, vocabulary=vocabulary, recipe={"shards": index.digest}, step=3)
    StoredFolder(places.specialists, KIND, TRAINED).write(save_network, recipe=specialist_recipe(get_task(TRAINED)))
    catalogue(stores=Stores(root=places.root), experiment=Experiment(name=EXPERIMENT, tasks=TRAINED))
    return tmp_path


def some_network() -> Network:
    recipe, rng = get_task(TRAINED).recipe, np.random.default_rng(1)
    assert recipe is not None

    def numbers(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    return Network(
        weights=(numbers(8, 11), numbers(8, 8), numbers(3, 8) / 8),
        biases=(numbers(8), numbers(8), numbers(3) / 8),
        activation=recipe.activation,
        squashes=recipe.algorithm != "ppo",
        mean=numbers(11),
        deviation=np.exp(numbers(11)),
    )


def save_network(data: Path) -> dict[str, Any]:
    save_file(some_network().to_arrays(), data / NETWORK)
    return {"score": 2410.0}


def test_the_examples_of_the_document_read_what_is_stored(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    session: dict[str, Any] = {}

    for number, block in enumerate(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL), start=1):
        exec(compile(block, f"{DOCUMENT.name}, example {number}", "exec"), session)

    printed = capsys.readouterr().out
    assert "3 episodes" in printed
    assert "öffne die rote Tür" in printed
    assert "{'solver': 'by hand'}" in printed
    differences = dict(re.findall(r"(\w+) \w+ largest difference (\S+)", printed))
    assert float(differences["view"]) == 0
    assert float(differences["angles"]) <= 1 / 1024 + 1e-6
    assert 0 < float(differences["speed"]) < 0.1
    assert "['00000000.json', '00000000.tokens.blosc'] 510 bytes of tokens" in printed
    shards = ShardStore(str(project / "data" / "shards")).read_task(TASK)
    steps = np.concatenate([shards.episode(index).tokens for index in range(3)])
    assert f"step 5 {steps[5]}" in printed
    assert "3 steps" in printed
    assert "by a policy that scores 2410.0" in printed
    seen, network = np.random.default_rng(2).normal(size=(20, 11)).astype(np.float32), some_network()
    acted = [session["act"]({"b": one[4:], "a": one[:4]}) for one in seen]
    np.testing.assert_allclose(acted, [network.act(one) for one in seen], rtol=1e-6)
    assert f"{TRAINED} specialist no episodes are stored" in printed


def test_the_document_names_every_column_of_the_tables() -> None:
    text = DOCUMENT.read_text()

    for table in (EPISODE_ROW, SAMPLE_ROW):
        assert all(f"`{name}`" in text for name in table.names or ())
    assert all(f"`{field.name}`" in text for field in fields(Entry))


def test_the_document_is_of_the_version_that_is_written() -> None:
    text = DOCUMENT.read_text()

    assert f"version {FORMAT_VERSION}\n" in text.splitlines(keepends=True)[0]
    assert f"`format_version` is {FORMAT_VERSION}." in text
