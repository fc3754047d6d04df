from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from db1_model.config import ModelConfig
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFiles, StoredFolder
from storage.manifest import Manifest

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"


class Checkpoint(NamedTuple):
    """A trained model.

    Args:
        model: The model with its weights, in evaluation mode.
        vocabulary: What its tokens mean.
        step: Optimiser steps that it was trained for.
    """

    model: DB1
    vocabulary: Vocabulary
    step: int


def save_checkpoint(
    folder: StoredFolder,
    model: DB1,
    *,
    vocabulary: Vocabulary,
    recipe: Mapping[str, Any],
    step: int,
    metadata: Mapping[str, Any] | None = None,
) -> Manifest:
    """Store a model: its weights, its configuration, its vocabulary and what it was trained from.

    Args:
        folder: Where; the old checkpoint there is replaced when the new one is complete.
        model: The model.
        vocabulary: What its tokens mean.
        recipe: What determines the weights, with the digest of the shards.
        step: Optimiser steps taken.
        metadata: Further JSON values for the manifest.

    Returns:
        The manifest; its metadata hold ``step``, ``vocabulary_digest``, ``num_parameters`` and what was given.
    """
    description = {"config": model.config.to_json(), "vocabulary": vocabulary.to_json(), "step": step}

    def fill(path: Path) -> Mapping[str, Any]:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, path / WEIGHTS
        )
        (path / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
        return {
            **(metadata or {}),
            "step": step,
            "vocabulary_digest": vocabulary.digest,
            "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        }

    return folder.write(fill, recipe=recipe)


def load_checkpoint(files: StoredFiles, *, vocabulary_digest: str | None = None, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Args:
        files: The checkpoint's files, ``StoredFolder(...).open()``.
        vocabulary_digest: Digest of the vocabulary that its tokens are to mean, such as a layout's; None for any.
        device: Where the weights go.

    Raises:
        ManifestError: If a file is missing or damaged, the weights do not fit the configuration, or the checkpoint is
            of another vocabulary.
    """
    description = json.loads(files.path(DESCRIPTION).read_text())
    vocabulary = Vocabulary.from_json(description["vocabulary"])
    if vocabulary_digest not in (None, vocabulary.digest):
        raise files.error(
            f"it was trained with vocabulary {vocabulary.digest[:12]}, expected {str(vocabulary_digest)[:12]}"
        )
    with torch.device("meta"):
        model = DB1(ModelConfig.from_json(description["config"]))
    try:
        load_state(model, load_file(files.path(WEIGHTS), device=device), "the stored weights")
    except ValueError as error:
        raise files.error(str(error)) from error
    return Checkpoint(model.eval(), vocabulary, description["step"])


def load_state(model: DB1, state: Mapping[str, Tensor], source: str) -> None:
    """Make the tensors of a state dictionary a model's parameters.

    Args:
        model: The model, changed in place.
        state: Tensors by our names.
        source: Where they come from, for the error.

    Raises:
        ValueError: If a name is missing or unknown or a shape differs.
    """
    expected = model.state_dict()
    if missing := sorted(set(expected) - set(state)):
        raise ValueError(f"{source} lack {len(missing)} parameters of the model, the first is {missing[0]!r}")
    if unknown := sorted(set(state) - set(expected)):
        raise ValueError(f"{source} have {len(unknown)} parameters that the model lacks, the first is {unknown[0]!r}")
    for name, value in expected.items():
        if value.shape != state[name].shape:
            raise ValueError(
                f"{name!r} in {source} has shape {tuple(state[name].shape)}; expected {tuple(value.shape)}"
            )
    model.load_state_dict(dict(state), assign=True)
