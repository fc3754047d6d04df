from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from db1_model.config import ModelConfig


def db1_nano() -> ModelConfig:
    """Learn the demo's 17 tasks in minutes on two cores: 3,587,744 parameters.

    The numbers of an observation share a position, and the context is short, so that many actions are trained a second.

    Command: ``db1 demo``, which is ``db1 make all --experiment demo``.
    Time: 4,000 steps of 32 sequences in 6 to 11 minutes on two cores; 18 to 34 thousand positions a second.
    Score: 13 to 15 of 17 tasks at half of the expert's score or more, 82 to 86 % on average; tours 11 to 17 % longer
    than the expert's.
    """
    return ModelConfig(
        num_layers=4,
        width=128,
        num_heads=4,
        context_length=96,
        memory_length=96,
        text_vocab_size=1024,
        encoding="embedded",
        dropout=0.0,
    )


def db1_nano_language() -> ModelConfig:
    """Learn to write and to answer beside the demo's tasks: nano with twice the words, so that texts are shorter.

    Command: ``db1 demo --language``, which is ``db1 make all --experiment demo_language``.
    Time: 8,400 steps of 32 sequences in 20 minutes on two cores.
    Score: 14 of 17 control tasks at half of the expert's score; captions of held-out rooms right in 100 % (one thing)
    and 74.5 % (two), questions about cities in other words in 94.5 %, 1.78 bits per byte of held-out documents.
    """
    return replace(db1_nano(), text_vocab_size=2048)


def db1_small() -> ModelConfig:
    """Gato's smallest size, which Gato calls 79 M: 90,574,720 parameters with DB1's vocabulary and patch embedding.

    Command: ``db1 make all --experiment small``.
    Time: one sequence of 1,024 tokens, forward and backward in float32, takes 8 s on one CPU core; a step of AdamW
    in bfloat16 with 8 sequences takes 6 GB (derived). Not measured on a GPU.
    Score: none yet; no run of this size is recorded.
    """
    return _full_size(num_layers=8, width=768, num_heads=24)


def db1_medium() -> ModelConfig:
    """Gato's middle size, which Gato calls 364 M: 388,746,880 parameters with DB1's vocabulary and patch embedding.

    Command: ``db1 make all --experiment medium``.
    Time: one sequence of 1,024 tokens, forward and backward in float32, takes 31 s on one CPU core; a step of AdamW
    in bfloat16 with 8 sequences takes 15 GB (derived). Not measured on a GPU.
    Score: none yet; no run of this size is recorded.
    """
    return _full_size(num_layers=12, width=1536, num_heads=12)


def db1_1_2b() -> ModelConfig:
    """DB1's published size: 1,210,585,216 parameters.

    Command: ``db1 make all --experiment full``.
    Time: one sequence of 1,024 tokens, forward and backward in float32, takes 95 s on one CPU core; a step of AdamW
    in bfloat16 with 8 sequences takes 40 GB (derived). Not measured on a GPU.
    Score: none yet; no run of this size is recorded.
    """
    return _full_size(num_layers=24, width=2048, num_heads=16)


def gato_1_2b() -> ModelConfig:
    """DB1's size with Gato's layer norms before the branches, and Gato's pixels: 1,210,585,216 parameters.

    Command: ``db1 make all --experiment gato``.
    Time: as ``db1-1.2b``, whose sizes it has. Not measured on a GPU.
    Score: none yet; no run of this size is recorded.
    """
    return replace(db1_1_2b(), norm="pre", pixels="gato")


PRESETS: Mapping[str, Callable[[], ModelConfig]] = {
    "db1-nano": db1_nano,
    "db1-nano-language": db1_nano_language,
    "db1-small": db1_small,
    "db1-medium": db1_medium,
    "db1-1.2b": db1_1_2b,
    "gato-1.2b": gato_1_2b,
}


def get_preset(name: str, **changes: Any) -> ModelConfig:
    """Return a preset, with some of its fields changed.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[name](), **changes)


def _full_size(*, num_layers: int, width: int, num_heads: int) -> ModelConfig:
    return ModelConfig(
        num_layers=num_layers,
        width=width,
        num_heads=num_heads,
        context_length=1024,
        memory_length=1024,
        text_vocab_size=32000,
        bin_embeddings="random",
    )
