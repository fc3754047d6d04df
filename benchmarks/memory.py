"""How many bytes does a layer keep for the gradient, and does a training step of 1.2 billion parameters fit a GPU?

Counts, with PyTorch's hooks on saved tensors, what one block of each kind keeps at context 1,024, and derives from it
the memory of a step of every preset in bfloat16 with AdamW. A minute on a CPU, since bytes are the same everywhere:

    python -m benchmarks.memory
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.reference_models import GPTBlock, PlainDB1
from db1_model.attention import Kernel, RelativeAttention, sinusoids_of
from db1_model.block import Block
from db1_model.config import ModelConfig
from db1_model.presets import PRESETS, get_preset
from db1_model.rotary import rotations_of
from db1_model.transformer import DB1

CONTEXT = 1024
MICRO_BATCH = 8
BYTES_A_PARAMETER = 4 + 4 + 8
"""Weight, gradient and AdamW's two moments in float32; bfloat16 copies of the weights are among what layers keep."""


def count_saved_bytes(run: Callable[[], Tensor], parameters: set[int]) -> int:
    """Return the bytes that a forward pass keeps for the gradient, its parameters not counted.

    Args:
        run: The forward pass.
        parameters: Addresses of the parameters' storages.
    """
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = run()
    del output
    return sum(storage.nbytes() for storage in kept.values())


def measure_block(config: ModelConfig, batch: int, kind: str, kernel: Kernel = "blocks") -> int:
    """Return the bytes that a block keeps at the context length.

    Args:
        config: Sizes and choices.
        batch: Sequences.
        kind: ``ours``, ``recomputed``, ``plain`` or ``gpt``.
        kernel: What computes our relative attention.
    """
    x = torch.randn(batch, CONTEXT, config.width, requires_grad=True)
    if kind == "gpt":
        gpt = GPTBlock(config)
        return count_saved_bytes(lambda: gpt(x), _addresses(gpt))
    block = Block(config)
    d = config.width // config.num_heads
    biases = [torch.zeros(config.num_heads, d, requires_grad=True) for _ in range(2)]
    distances = sinusoids_of(torch.arange(CONTEXT - 1, -2, -1), config.width)
    if config.position == "rope":
        biases, distances = [], rotations_of(torch.arange(CONTEXT), d)
    elif isinstance(block.attention, RelativeAttention):
        block.attention.kernel = kernel
    if kind == "plain":
        return count_saved_bytes(lambda: PlainDB1.apply_block(block, x, distances[:-1], *biases), _addresses(block))
    saved = count_saved_bytes(lambda: block(x, distances, *biases), _addresses(block))
    return x.nbytes if kind == "recomputed" else saved


def _addresses(module: torch.nn.Module) -> set[int]:
    return {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}


def derive_step_bytes(name: str, *, recompute: bool) -> dict[str, float]:
    """Return the gigabytes that a training step of a preset takes, by what takes them.

    Activations grow linearly with the batch, so two small batches give what one large one keeps. Every position is in
    the loss, as with text: the head holds logits and their logarithms of probabilities, both in float32, at once.
    """
    config = replace(get_preset(name), context_length=CONTEXT, memory_length=CONTEXT)
    with torch.device("meta"):
        num_parameters = sum(parameter.numel() for parameter in DB1(config).parameters())
    with torch.autocast("cpu", torch.bfloat16):
        three, four = (measure_block(config, batch, "ours", "sdpa") for batch in (3, 4))
    block = three + (MICRO_BATCH - 3) * (four - three)
    inputs = MICRO_BATCH * CONTEXT * config.width * 4
    logits = MICRO_BATCH * CONTEXT * config.vocab_size
    parts = {
        "state": num_parameters * BYTES_A_PARAMETER,
        "layers": config.num_layers * inputs + block if recompute else config.num_layers * block,
        "head": logits * (4 + 4),
    }
    return {part: value / 1e9 for part, value in parts.items()}


def main() -> None:
    """Print what a layer keeps, and what a step takes."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    config = ModelConfig(1, 1024, 8, CONTEXT, CONTEXT, 1791, num_bins=256, num_discrete=256)
    rope = replace(config, position="rope")
    print(f"bytes kept for the gradient a token and layer, width 1,024, 8 heads, context {CONTEXT:,}, no dropout")
    print(f"{'':36}{'float32':>10}{'bfloat16':>10}{'x GPT':>8}")
    config, rope = replace(config, dropout=0.0), replace(rope, dropout=0.0)
    kinds: dict[str, tuple[ModelConfig, str, Kernel]] = {
        "GPT, fused causal attention": (config, "gpt", "auto"),
        "DB1, plain reading": (config, "plain", "auto"),
        "DB1, attention='blocks'": (config, "ours", "blocks"),
        "DB1, attention='sdpa'": (config, "ours", "sdpa"),
        "DB1, position='rope'": (rope, "ours", "auto"),
        "DB1, checkpoint_activations": (config, "recomputed", "auto"),
    }
    kept: dict[str, list[float]] = {}
    for name, (of, kind, kernel) in kinds.items():
        for half in (False, True):
            with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
                three, four = (measure_block(of, batch, kind, kernel) for batch in (3, 4))
            kept.setdefault(name, []).append((four - three) / CONTEXT)
    reference = next(iter(kept.values()))
    for name, (single, half) in kept.items():
        print(f"{name:36}{single:10,.0f}{half:10,.0f}{half / reference[1]:8.2f}")
    print(f"\nGB of a training step in bfloat16, micro-batch {MICRO_BATCH}, context {CONTEXT:,} (derived)")
    print(f"{'':36}{'state':>8}{'layers':>8}{'head':>8}{'all':>8}")
    for name in PRESETS:
        for recompute in (False, True):
            parts = derive_step_bytes(name, recompute=recompute)
            label = f"{name}{', checkpoint_activations' if recompute else ''}"
            print(f"{label:36}{''.join(f'{part:8.1f}' for part in parts.values())}{sum(parts.values()):8.1f}")


if __name__ == "__main__":
    main()
