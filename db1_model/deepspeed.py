from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from db1_model.checkpoint import save_checkpoint
from db1_model.config import ModelConfig
from db1_model.published import import_db1_weights, make_db1_config
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.manifest import Manifest

CODE_VERSION = "1"
_STATES = "mp_rank_00_model_states.pt"


@dataclass(frozen=True)
class Unstated:
    """What the shapes of DB1's weights do not tell; the defaults are those of its published checkpoint.

    Args:
        norm: As in ``ModelConfig``.
        context_length: Positions of a training sequence; distances beyond it count as it.
        memory_length: As in ``ModelConfig``.
        num_bins: Bins of a continuous number; the rest of the vocabulary is text and the separator.
        num_discrete: Values of a discrete number.
    """

    norm: Literal["post", "pre", "deep"] = "post"
    context_length: int = 1024
    memory_length: int = 1024
    num_bins: int = 1024
    num_discrete: int = 1024


def import_deepspeed(
    source: str | Path,
    folder: StoredFolder,
    tokenizer: TextTokenizer,
    unstated: Unstated = Unstated(),
    *,
    tag: str | None = None,
) -> Manifest:
    """Store the weights of DB1's published checkpoint as one of ours, in float32.

    Args:
        source: DeepSpeed's folder: ``<tag>/mp_rank_00_model_states.pt`` below it, or that folder of the tag itself.
        folder: Where the checkpoint goes; what was made there from the same weights and choices stays.
        tokenizer: DB1's text tokenizer.
        unstated: What the shapes of the weights do not tell.
        tag: The tag; None for that in the file ``latest``, or for the only one.

    Returns:
        The manifest; its recipe holds the digest of the weights' file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is broken, is not whole or holds more than data, or the weights are not DB1's.
    """
    path = find_states(source, tag)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made_from = {"deepspeed": digest, "unstated": asdict(unstated), "tokenizer": tokenizer.digest}
    recipe = {"code_version": CODE_VERSION, **made_from}
    if found := folder.find(recipe):
        return found
    weights, step = read_states(path)
    config = derive_config(weights, unstated)
    if tokenizer.size > config.text_vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.size} tokens; expected at most {config.text_vocab_size}, as the weights "
            f"have {config.vocab_size} tokens of which {config.num_bins} are bins and one is the separator"
        )
    model = import_db1_weights(weights, config)
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(f"{path}: {name!r} has values that are not finite; expected a sound checkpoint")
    vocabulary = Vocabulary.of(config, tokenizer.digest)
    return save_checkpoint(folder, model, vocabulary=vocabulary, recipe=recipe, step=step)


def find_states(source: str | Path, tag: str | None = None) -> Path:
    """Return the file of the weights in DeepSpeed's folder.

    Args:
        source: As in ``import_deepspeed``.
        tag: As in ``import_deepspeed``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are several tags, or the weights are in several files.
    """
    source = Path(source)
    if tag is None and (source / "latest").is_file():
        tag = (source / "latest").read_text().strip()
    folders = [source, *sorted(source.glob("*/"))] if tag is None else [source / tag]
    found = {folder: sorted(folder.glob("*mp_rank_*_model_states.pt")) for folder in folders}
    tagged = {folder: paths for folder, paths in found.items() if paths}
    if not tagged:
        place = source / (tag or "<tag>")
        raise FileNotFoundError(f"there is no {place / _STATES}; expected DeepSpeed's folder of DB1's checkpoint")
    if len(tagged) > 1:
        tags = ", ".join(folder.name for folder in tagged)
        raise ValueError(f"{source} has the tags {tags} and no file 'latest'; expected one of them as --tag")
    ((folder, paths),) = tagged.items()
    whole = [path for path in paths if re.fullmatch(r"mp_rank_\d+_model_states\.pt", path.name)]
    if not whole:
        raise ValueError(
            f"{folder} holds weights that ZeRO-3 has split over processes ({paths[0].name}, ...); expected {_STATES}. "
            "Join them with the zero_to_fp32.py that DeepSpeed puts beside them, and save them under 'module'"
        )
    if len(whole) > 1:
        raise ValueError(f"{folder} holds weights that {len(whole)} tensor-parallel processes share; expected one file")
    return whole[0]


def read_states(path: Path) -> tuple[dict[str, Tensor], int]:
    """Read DB1's parameters, and the optimiser steps that it was trained for; 0 when the file does not tell.

    The file is a pickle: nothing but data and the ``argparse.Namespace`` of DB1's training is let in.

    Raises:
        ValueError: If the file is broken, holds other objects, or has no parameters under ``module``.
    """
    is_zip = zipfile.is_zipfile(path)
    try:
        with safe_globals([argparse.Namespace]):
            states: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(_explain(path, is_zip, error)) from error
    module = states.get("module") if isinstance(states, Mapping) else None
    if not isinstance(module, Mapping) or not all(isinstance(value, Tensor) for value in module.values()):
        found = ", ".join(map(str, states)) if isinstance(states, Mapping) else type(states).__name__
        raise ValueError(f"{path} has no tensors under 'module'; found {found}")
    step = states.get("global_steps")
    return dict(module), step if isinstance(step, int) else 0


def derive_config(weights: Mapping[str, Tensor], unstated: Unstated) -> ModelConfig:
    """Return the sizes that DB1's weights have.

    Raises:
        ValueError: If a parameter is missing, has another number of axes, or the vocabulary has no room for the bins.
    """

    def size(name: str, axis: int, axes: int) -> int:
        if name not in weights or weights[name].ndim != axes:
            found = f"shape {tuple(weights[name].shape)}" if name in weights else f"{len(weights)} others"
            raise ValueError(f"DB1's weights need {name!r} with {axes} axes; found {found}")
        return weights[name].shape[axis]

    layers = {int(match[1]) for name in weights if (match := re.match(r"h\.(\d+)\.", name))}
    untied = "r_w_bias" not in weights
    vocab_size, patches = size("word_embedding.weight", 0, 2), "vision_encoder.patch_embeddings"
    text_vocab_size = vocab_size - unstated.num_bins - 1
    if text_vocab_size < unstated.num_discrete:
        raise ValueError(
            f"{vocab_size} tokens less {unstated.num_bins} bins and the separator leave {text_vocab_size} for text; "
            f"expected at least the {unstated.num_discrete} discrete values"
        )
    return make_db1_config(
        num_layers=max(layers, default=0) + 1,
        width=size("word_embedding.weight", 1, 2),
        num_heads=size("h.0.dec_attn.r_w_bias" if untied else "r_w_bias", 0, 2),
        ffn_width=size("h.0.pos_ff.CoreNet.0.weight", 0, 2),
        text_vocab_size=text_vocab_size,
        untie_relative_bias=untied,
        patch_size=size(f"{patches}.projection.weight", 3, 4),
        patch_channels=size(f"{patches}.conv1.weight", 0, 4),
        position_vocab=size("vision_encoder.row_position_embeddings.weight", 0, 2),
        local_positions=size("rl_local_timestep_embedding.weight", 0, 2),
        **asdict(unstated),
    )


def _explain(path: Path, is_zip: bool, error: Exception) -> str:
    """Say what in a file was refused, or that it is broken."""
    refused = re.findall(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
    if refused and is_zip:
        with safe_globals([argparse.Namespace]):
            refused = get_unsafe_globals_in_checkpoint(path)
    if not refused:
        return f"{path} is cut, broken or no file that torch.save wrote; expected DeepSpeed's {_STATES}"
    return (
        f"{path} holds objects that may run code when they are read: {', '.join(sorted(refused))}; expected tensors, "
        "plain values and argparse.Namespace. If you trust its source, keep the weights alone, and import them:\n"
        f"  python -c \"import os, torch; module = torch.load('{path}', 'cpu', weights_only=False)['module']; "
        f"os.mkdir('weights'); torch.save({{'module': module}}, 'weights/{_STATES}')\""
    )
