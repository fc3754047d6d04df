from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from db1_model import export
from db1_model.checkpoint import Checkpoint, save_checkpoint
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.export import export_checkpoint, load_exported
from db1_model.model_card import TaskScore, write_card
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.manifest import Manifest

SCORES = [
    TaskScore("control/CartPole", 20, 480.0, 19.7, "random", 500.0, 0.9584),
    TaskScore("tsp/tsp100-city-0", 20, -23_589.0, -25_000.0, "nearest", -25_500.0, None),
]
LICENCES = {"control/CartPole": "MIT", "tsp/tsp100-city-0": "CC-BY-4.0"}


@pytest.fixture(scope="module")
def text() -> TextTokenizer:
    return TextTokenizer.train(["go to the red ball"], 300)


@pytest.fixture(scope="module")
def checkpoint(text: TextTokenizer) -> Checkpoint:
    config = ModelConfig(1, 32, 2, 16, 16, 300, num_discrete=20, num_bins=32, encoding="embedded", patch_channels=8)
    return Checkpoint(DB1(config).eval(), Vocabulary.of(config, text.digest), 7)


@pytest.fixture
def manifest(tmp_path: Path, checkpoint: Checkpoint) -> Manifest:
    recipe = {"shards": "5ha2d5", "training": TrainingConfig(steps=7, batch_windows=3).to_json()}
    log = [{"step": 3, "loss": 4.5}, {"step": 7, "loss": 1.25}]
    folder = StoredFolder(tmp_path / "checkpoints", "checkpoint", "tiny")
    model, vocabulary, step = checkpoint
    return save_checkpoint(folder, model, vocabulary=vocabulary, recipe=recipe, step=step, metadata={"log": log})


def make_card(manifest: Manifest, checkpoint: Checkpoint, **changes: Any) -> str:
    facts: dict[str, Any] = {"task_licences": LICENCES, "scores": SCORES, "has_tokenizer": True}
    return write_card(manifest, checkpoint.model.config, checkpoint.vocabulary, **(facts | changes))


def test_an_exported_model_gives_equal_logits_and_plain_safetensors_opens_it(
    tmp_path: Path, checkpoint: Checkpoint, text: TextTokenizer
) -> None:
    folder = tmp_path / "models" / "tiny"
    tokens = torch.randint(0, 300, (2, 9))

    export_checkpoint(folder, checkpoint, card="# tiny", tokenizer=text)
    loaded = load_exported(folder)

    assert torch.equal(loaded.model.logits(loaded.model(tokens)), checkpoint.model.logits(checkpoint.model(tokens)))
    assert (loaded.model.config, loaded.vocabulary, loaded.step) == (checkpoint.model.config, checkpoint.vocabulary, 7)
    state = checkpoint.model.state_dict()
    assert {name: value.shape for name, value in load_file(folder / "model.safetensors").items()} == {
        name: value.shape for name, value in state.items()
    }
    assert TextTokenizer.load(folder).digest == text.digest
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("has_tokenizer", [True, False])
def test_the_lines_of_the_card_run_as_written(
    has_tokenizer: bool,
    tmp_path: Path,
    checkpoint: Checkpoint,
    manifest: Manifest,
    text: TextTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = make_card(manifest, checkpoint, has_tokenizer=has_tokenizer)
    export_checkpoint(tmp_path / "tiny", checkpoint, card=card, tokenizer=text if has_tokenizer else None)
    monkeypatch.chdir(tmp_path / "tiny")
    found = re.search(r"```python\n(.*?)```", (tmp_path / "tiny" / "README.md").read_text(), re.DOTALL)
    assert found

    exec(found[1], {})

    assert re.fullmatch(r"torch.Size\(\[1, \d+, 333\]\)\n", capsys.readouterr().out)


def test_the_card_tells_what_the_model_is_where_it_is_from_and_what_it_reached(
    checkpoint: Checkpoint, manifest: Manifest
) -> None:
    card = make_card(manifest, checkpoint)

    assert f"{sum(parameter.numel() for parameter in checkpoint.model.parameters()):,} parameters" in card
    assert "| preset | db1-nano |" in card
    assert "| optimiser steps | 7 |" in card
    assert "| final loss | 1.2500 nats" in card
    assert "| `control/CartPole` | 20 | 480 | 19.7 (random) | 500 | 95.8 % |" in card
    assert "| undefined |" in card
    assert "(model - floor) / (expert - floor)" in card
    for digest in (manifest.digest, manifest.key, "5ha2d5", checkpoint.vocabulary.digest):
        assert f"`{digest}`" in card
    assert "GeoNames, CC BY 4.0" in card
    assert card == make_card(manifest, checkpoint)


def test_the_card_of_an_imported_or_unscored_model_claims_nothing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    recipe = {"deepspeed": "f11e", "unstated": {"norm": "post"}}
    model, vocabulary, step = checkpoint
    folder = StoredFolder(tmp_path, "checkpoint", "published")
    manifest = save_checkpoint(folder, model, vocabulary=vocabulary, recipe=recipe, step=step)

    card = make_card(manifest, checkpoint, task_licences=None, scores=[])

    assert "license: other" in card
    assert "Imported from DB1's published DeepSpeed checkpoint" in card
    assert "It has not been evaluated." in card
    assert "| DeepSpeed's file | `f11e` |" in card
    assert "preset" not in card


def test_a_folder_is_replaced_only_when_it_is_an_export_and_this_is_wanted(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    folder, other = tmp_path / "tiny", tmp_path / "thesis"
    other.mkdir()
    (other / "config.json").write_text("[1]")
    export_checkpoint(folder, checkpoint, card="first")

    with pytest.raises(FileExistsError, match="is an earlier export; replace it with --overwrite"):
        export_checkpoint(folder, checkpoint, card="second")
    with pytest.raises(FileExistsError, match="thesis exists and is no export"):
        export_checkpoint(other, checkpoint, card="second", overwrite=True)
    assert (folder / "README.md").read_text() == "first"

    export_checkpoint(folder, checkpoint, card="second", overwrite=True)

    assert (folder / "README.md").read_text() == "second"
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "thesis"}


def test_an_export_that_fails_leaves_the_old_one(
    tmp_path: Path, checkpoint: Checkpoint, text: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny"
    export_checkpoint(folder, checkpoint, card="first")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(export, "describe_files", fail)
        with pytest.raises(OSError, match="disk full"):
            export_checkpoint(folder, checkpoint, card="second", overwrite=True)

    assert (folder / "README.md").read_text() == "first"
    export_checkpoint(folder, checkpoint, card="third", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_tokenizer_of_another_vocabulary_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    other = TextTokenizer.train(["open the blue door"], 300)

    with pytest.raises(ValueError, match="that of the checkpoint's vocabulary"):
        export_checkpoint(tmp_path / "tiny", checkpoint, card="", tokenizer=other)
    assert not list(tmp_path.iterdir())


def test_what_is_no_sound_export_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder = tmp_path / "tiny"
    with pytest.raises(FileNotFoundError, match=r"there is no .*config.json; .*\n  db1 checkpoint export NAME"):
        load_exported(folder)

    export_checkpoint(folder, checkpoint, card="")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-9])
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        load_exported(folder)

    description = json.loads((folder / "config.json").read_text())
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps(description | {"model": description["model"] | {"num_layers": 2}}))
    with pytest.raises(ValueError, match=r"lack \d+ parameters .*'blocks.1"):
        load_exported(folder)

    (folder / "config.json").write_text(json.dumps(description | {"format": "gguf"}))
    with pytest.raises(ValueError, match="has format 'gguf'; expected 'db1-export-1'"):
        load_exported(folder)
