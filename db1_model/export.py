from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from db1_model.checkpoint import Checkpoint, load_state
from db1_model.config import ModelConfig
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.manifest import describe_files, flush_folder

WEIGHTS, CONFIG, CARD, DATA_CARD = "model.safetensors", "config.json", "README.md", "DATA.md"
_FORMAT = "db1-export-1"


def export_checkpoint(
    folder: str | Path,
    checkpoint: Checkpoint,
    *,
    card: str,
    data_card: str = "",
    tokenizer: TextTokenizer | None = None,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint as a folder that stands alone: weights, configuration, tokenizer and cards.

    It is written under another name and renamed, so that a killed export leaves no half folder.

    Args:
        folder: The folder to make.
        checkpoint: The model, its vocabulary and step.
        card: Text of the model card.
        data_card: Text about the data that it was trained on; no file where it is empty.
        tokenizer: The text tokenizer of its vocabulary.
        overwrite: Whether to replace an earlier export.

    Raises:
        FileExistsError: If the folder exists, and is no export or may not be replaced.
        ValueError: If the tokenizer is not that of the vocabulary.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not _is_export(folder):
        raise FileExistsError(f"{folder} exists and is no export of a checkpoint; expected a name that is free")
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} is an earlier export; replace it with --overwrite")
    if tokenizer is not None and tokenizer.digest != checkpoint.vocabulary.tokenizer_digest:
        raise ValueError(
            f"the tokenizer is {tokenizer.digest[:12]}; expected {checkpoint.vocabulary.tokenizer_digest[:12]}, that "
            "of the checkpoint's vocabulary"
        )
    partial, old = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    description = {
        "format": _FORMAT,
        "model": checkpoint.model.config.to_json(),
        "vocabulary": checkpoint.vocabulary.to_json(),
        "step": checkpoint.step,
    }
    state = {name: value.detach().cpu().contiguous() for name, value in checkpoint.model.state_dict().items()}
    save_file(state, partial / WEIGHTS, metadata={"format": "pt"})
    (partial / WEIGHTS).chmod(0o644)  # safetensors lets nobody else read it
    (partial / CONFIG).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
    (partial / CARD).write_text(card)
    if data_card:
        (partial / DATA_CARD).write_text(data_card)
    if tokenizer is not None:
        tokenizer.save(partial)
    describe_files(partial)  # flushes them
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def load_exported(folder: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Read what ``export_checkpoint`` wrote.

    Args:
        folder: The folder.
        device: Where the weights go.

    Returns:
        The model in evaluation mode, its vocabulary and step.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the folder is no export, or the weights are damaged or do not fit the configuration.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"there is no {folder / name}; export a checkpoint with:\n  db1 checkpoint export NAME {folder}"
            )
    description = _read_description(folder)
    if description.get("format") != _FORMAT:
        raise ValueError(f"{folder / CONFIG} has format {description.get('format')!r}; expected {_FORMAT!r}")
    with torch.device("meta"):
        model = DB1(ModelConfig.from_json(description["model"]))
    try:
        load_state(model, load_file(folder / WEIGHTS, device=device), str(folder / WEIGHTS))
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged ({error}); export the checkpoint again") from error
    return Checkpoint(model.eval(), Vocabulary.from_json(description["vocabulary"]), description["step"])


def _is_export(folder: Path) -> bool:
    return _read_description(folder).get("format") == _FORMAT


def _read_description(folder: Path) -> dict[str, Any]:
    """The content of a folder's configuration; nothing when it is no object or not there."""
    try:
        value = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
