from __future__ import annotations

from pathlib import Path

import pytest
import torch

from db1_model.checkpoint import load_checkpoint, save_checkpoint
from db1_model.config import ModelConfig
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.manifest import Manifest, ManifestError

TINY = ModelConfig(1, 32, 2, 16, 16, 64, num_discrete=20, num_bins=32, encoding="embedded", patch_channels=8)
VOCABULARY = Vocabulary(64, 20, 32, "words")


@pytest.fixture
def folder(tmp_path: Path) -> StoredFolder:
    return StoredFolder(tmp_path, "checkpoint", "tiny")


def save(folder: StoredFolder, model: DB1) -> Manifest:
    return save_checkpoint(folder, model, vocabulary=VOCABULARY, recipe={"shards": "abc"}, step=7)


def test_a_loaded_checkpoint_computes_what_the_saved_model_does(folder: StoredFolder) -> None:
    model = DB1(TINY).eval()
    tokens = torch.randint(0, 64, (2, 9))

    manifest = save(folder, model)
    loaded = load_checkpoint(folder.open(), vocabulary_digest=VOCABULARY.digest)

    assert (loaded.step, loaded.vocabulary, loaded.model.config) == (7, VOCABULARY, TINY)
    assert torch.equal(loaded.model(tokens), model(tokens))
    assert manifest.metadata["vocabulary_digest"] == VOCABULARY.digest
    assert save(folder, loaded.model).digest == manifest.digest


def test_a_checkpoint_of_another_vocabulary_is_refused_with_the_command_that_makes_it(folder: StoredFolder) -> None:
    save(folder, DB1(TINY))

    with pytest.raises(ManifestError, match=r"(?s)'tiny': it was trained with vocabulary .*db1 make checkpoint"):
        load_checkpoint(folder.open(), vocabulary_digest=Vocabulary(64, 20, 32, "other words").digest)


def test_a_damaged_checkpoint_is_refused(folder: StoredFolder) -> None:
    manifest = save(folder, DB1(TINY))
    weights = folder.path / manifest.folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    with pytest.raises(ManifestError, match=r"weights.safetensors is corrupt"):
        load_checkpoint(folder.open())
