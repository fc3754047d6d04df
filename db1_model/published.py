from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.checkpoint import load_state
from db1_model.config import ModelConfig
from db1_model.transformer import DB1

_OUTSIDE_BLOCKS = {
    "word_embedding.weight": "embedding.token_embedding.weight",
    "rl_local_timestep_embedding.weight": "embedding.local_embedding.weight",
    "vision_encoder.row_position_embeddings.weight": "embedding.patches.row_embedding.weight",
    "vision_encoder.col_position_embeddings.weight": "embedding.patches.column_embedding.weight",
    "vision_encoder.patch_embeddings.conv1": "embedding.patches.stem",
    "vision_encoder.patch_embeddings.residual_path": "embedding.patches.residual",
    "vision_encoder.patch_embeddings.projection": "embedding.patches.projection",
}
_IN_BLOCKS = {
    "dec_attn.qkv_net": "attention.query_key_value",
    "dec_attn.r_net": "attention.relative",
    "dec_attn.o_net": "attention.output",
    "dec_attn.layer_norm": "attention_norm",
    "pos_ff.CoreNet.0": "feed_forward.up",
    "pos_ff.CoreNet.2": "feed_forward.down",
    "pos_ff.layer_norm": "feed_forward_norm",
}
_SIZES = {
    "num_layers": "num_layers",
    "embed_dim": "width",
    "num_heads": "num_heads",
    "ffn_dim": "ffn_width",
    "context_length": "context_length",
    "memory_length": "memory_length",
    "text_vocab_size": "text_vocab_size",
    "num_discrete": "num_discrete",
    "num_bins": "num_bins",
    "patch_size": "patch_size",
    "patch_channels": "patch_channels",
    "position_vocab": "position_vocab",
    "local_positions": "local_positions",
}
_CHOICES = {
    "norm": ("post", "pre"),
    "deepnorm": (False, True),
    "untie_relative_bias": (False, True),
    "activation": ("geglu",),
}
_BIASES = {"r_w_bias": "content_bias", "r_r_bias": "position_bias"}
_FREQUENCIES = "pos_emb.inv_freq"  # follow from the width
_VISION, _VISION_AGAIN = "vision_encoder.", "ic_encoder."  # one module under two names


class Place(NamedTuple):
    """Where a parameter of DB1's is in our model.

    Args:
        parameter: Name of our parameter.
        row: The part of it, for a relative bias: ours holds all layers' in one, shape (1 or layers, heads, d).
    """

    parameter: str
    row: int | None = None


def make_db1_config(**choices: Any) -> ModelConfig:
    """Return the configuration of a model that computes what DB1 does.

    Args:
        choices: Fields of ``ModelConfig`` in which DB1's models differ: the sizes, ``norm``, ``untie_relative_bias``.
    """
    return ModelConfig(
        **choices,
        position="relative",
        encoding="tokens",
        pixels="standardised",
        bin_edge="lower",
        memory="zeros",
        bin_embeddings="random",
    )


def read_db1_config(path: Path) -> ModelConfig:
    """Read DB1's sizes and options.

    Raises:
        ValueError: If the file is broken, a key is missing, or a value is none that DB1 has.
    """
    try:
        theirs: dict[str, Any] = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is broken ({error}); expected a JSON object") from error
    for name in (*_SIZES, *_CHOICES):
        if name not in theirs:
            raise ValueError(f"{path} has no {name!r}; found {', '.join(theirs)}")
    for name in _SIZES:
        if type(theirs[name]) is not int or theirs[name] < 1:
            raise ValueError(f"{path}: {name!r} is {theirs[name]!r}; expected a whole number of at least 1")
    for name, supported in _CHOICES.items():
        if theirs[name] not in supported:
            raise ValueError(f"{path}: {name!r} is {theirs[name]!r}; expected {' or '.join(map(repr, supported))}")
    deep = theirs["deepnorm"] and theirs["norm"] == "post"  # with PreNorm DB1 ignores it
    config = make_db1_config(
        **{ours: theirs[name] for name, ours in _SIZES.items()},
        norm="deep" if deep else theirs["norm"],
        untie_relative_bias=theirs["untie_relative_bias"],
    )
    if theirs.get("separator_token", config.separator) != config.separator:
        raise ValueError(f"{path}: 'separator_token' is {theirs['separator_token']}; expected {config.separator}")
    return config


def find_place(name: str, config: ModelConfig) -> Place:
    """Return where a parameter of DB1's is in our model.

    A bias that DB1's layers share has a name in every layer; all of them are one place.

    Raises:
        ValueError: If a model of this configuration has no such parameter in DB1.
    """
    attention, _, last = name.rpartition(".")
    rows = {f"h.{layer}.dec_attn": layer for layer in range(config.num_layers)}
    if not config.untie_relative_bias:
        rows = dict.fromkeys(["", *rows], 0)
    if last in _BIASES and attention in rows:
        return Place(_BIASES[last], rows[attention])
    prefix, names, rest = "", _OUTSIDE_BLOCKS, name
    if name.startswith("h."):
        layer, _, rest = name.removeprefix("h.").partition(".")
        prefix, names = f"blocks.{layer}.", _IN_BLOCKS
    elif name.startswith(_VISION_AGAIN):
        rest = _VISION + name.removeprefix(_VISION_AGAIN)
    for theirs, ours in names.items():
        if rest == theirs or rest.startswith(theirs + "."):
            return Place(prefix + ours + rest.removeprefix(theirs))
    raise ValueError(f"DB1 has no parameter {name!r}; expected a state dictionary of its published model")


def import_db1_weights(weights: Mapping[str, NDArray[Any] | Tensor], config: ModelConfig) -> DB1:
    """Return a model with DB1's weights, in float32.

    Args:
        weights: Parameters under DB1's names, of any floating-point type.
        config: Made by ``make_db1_config``.

    Raises:
        ValueError: If a parameter is missing, unknown or of another shape than ``config`` says, or parameters that are
            one in DB1 differ.
    """
    kept: dict[Place, Tensor] = {}
    for name, value in weights.items():
        if name == _FREQUENCIES or (config.untie_relative_bias and name in _BIASES):
            continue
        place, tensor = find_place(name, config), torch.as_tensor(value)
        same = kept.setdefault(place, tensor)
        if same is not tensor and not torch.equal(same, tensor):
            hint = "; with untie_relative_bias every layer has its own" if place.row is not None else ""
            raise ValueError(f"{name!r} and another name of it in DB1's weights differ; expected equal values{hint}")
    state = {place.parameter: tensor for place, tensor in kept.items() if place.row is None}
    rows = range(config.num_layers if config.untie_relative_bias else 1)
    for theirs, ours in _BIASES.items():
        if absent := [row for row in rows if Place(ours, row) not in kept]:
            name = f"h.{absent[0]}.dec_attn.{theirs}" if config.untie_relative_bias else theirs
            raise ValueError(f"DB1's weights lack {name!r}; expected it with {config.num_layers} layers")
        state[ours] = torch.stack([kept[Place(ours, row)] for row in rows])
    with torch.device("meta"):
        model = DB1(config)
    load_state(model, {name: value.to(torch.float32, copy=True) for name, value in state.items()}, "DB1's weights")
    return model
