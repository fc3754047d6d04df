from __future__ import annotations

from dataclasses import dataclass

from db1_model.config import ModelConfig

STATE_BYTES = 4 + 4 + 8
"""Of a parameter: its weight, its gradient and AdamW's two moments, all in float32."""

BYTES_A_TOKEN = {"tokens (Zarr)": 0.82, "shards (WebDataset, Blosc)": 1.13, "shards, not compressed": 2.0}
"""On disk; the first two measured on 70 million tokens of the demo with language, whose pictures are among them."""

PUBLISHED_MFU = {
    "A100-40": "56 % (TinyLlama, 1.1 B)",
    "A100": "60 % (llm-foundry, 1.3 B at 1,024 tokens)",
    "H100": "42 % (llm-foundry, 1.3 B at 1,024 tokens)",
}
"""Shares of the GPU's arithmetic that others reached near 1.2 billion parameters.

Source:
    The training benchmarks of MosaicML's llm-foundry (``scripts/train/benchmarking``); Zhang et al., "TinyLlama: an
    open-source small language model", 2024.
"""


@dataclass(frozen=True)
class GPU:
    """A kind of GPU.

    Args:
        tflops: Dense products in bfloat16, in 10^12 operations a second.
        memory_gb: Memory in 10^9 bytes.

    Source:
        NVIDIA's data sheets of A100, H100 SXM and H200 SXM.
    """

    tflops: float
    memory_gb: float


GPUS = {"A100-40": GPU(312, 40), "A100": GPU(312, 80), "H100": GPU(989, 80), "H200": GPU(989, 141)}


@dataclass(frozen=True)
class Memory:
    """Gigabytes (10^9 bytes) that a training step takes on one GPU.

    Args:
        state: Parameters, gradients and AdamW's moments; with FSDP also the layers that are gathered.
        activations: What the layers keep for the gradient.
        head: Logits and logarithms of probabilities, with every position in the loss.
    """

    state: float
    activations: float
    head: float

    @property
    def total(self) -> float:
        """All of it; what PyTorch, its communication and fragments take comes on top, some 5 to 10 GB."""
        return self.state + self.activations + self.head


def count_parameters(config: ModelConfig) -> int:
    """Return the number of a model's parameters, from its sizes alone."""
    width, channels = config.width, config.patch_channels
    tables = (config.vocab_size + config.local_positions + 2 * config.position_vocab) * width
    stem = 28 * channels + 2 * (9 * channels**2 + channels) + 4 * channels
    patches = stem + (channels * config.patch_size**2 + 1) * width
    biases = 0 if config.position == "rope" else 2 * width * (config.num_layers if config.untie_relative_bias else 1)
    numbers = 0
    if config.encoding == "embedded":
        joined = config.numbers_per_position * config.number_width
        numbers = (1 + config.vocab_size) * config.number_width + (joined + 1) * 2 * width + (2 * width + 1) * width
    return tables + patches + biases + numbers + config.num_layers * count_layer_parameters(config)


def count_layer_parameters(config: ModelConfig) -> int:
    """Return the parameters of one layer: attention, the gated feed-forward layer and two layer norms."""
    width, ffn_width = config.width, config.ffn_width
    attention = (4 if config.position == "rope" else 5) * width**2
    return attention + (width + 1) * ffn_width + (ffn_width // 2 + 1) * width + 4 * width


def count_flop(config: ModelConfig, *, context: int | None = None) -> float:
    """Return the floating-point operations of a token, forward and backward.

    6 for each weight of a matrix that meets every token (attention's, the feed-forward layers' and the head), twice as
    much backward as forward; and for each layer ``12 * width * context`` for the products of queries, keys and values
    of all pairs, causal or not. Relative positions add half as much again. The projection of the distances, once a
    step, is left out, and so is what is computed again to save memory: it is no useful work.

    Args:
        config: The model.
        context: Positions of a sequence; the model's by default.

    Source:
        Kaplan et al., "Scaling laws for neural language models", 2020 (6 N); Chowdhery et al., "PaLM", 2022, appendix
        B (attention, and the share of a machine's arithmetic that such counts give, MFU).
    """
    width, length = config.width, context or config.context_length
    matrices = config.num_layers * (4 * width**2 + width * config.ffn_width * 3 // 2) + config.vocab_size * width
    products = 12 if config.position == "rope" else 18
    return 6.0 * matrices + products * config.num_layers * width * length


def count_activation_bytes(config: ModelConfig) -> int:
    """Return what a layer keeps of a token for its gradient, in bytes, in bfloat16 and with a fused attention.

    In widths: the inputs of attention and of its output in bfloat16 (2 + 2), queries, keys and values (6), the
    feed-forward layer's input (2), what the two layer norms saw in float32 (4 + 4), masks of dropout (1 + 1), and with
    rope the rotated queries and keys (4). Of the feed-forward width: both halves (2), GELU of the gate (1) and their
    product (1). Besides 16 bytes of the layer norms, and with rope 4 a head.

    Source:
        Counted in this model with PyTorch's hooks, ``python -m benchmarks.memory``; after Korthikanti et al., "Reducing
        activation recomputation in large transformer models", 2022.
    """
    rotated = (4 * config.width + 4 * config.num_heads) if config.position == "rope" else 0
    dropped = 2 * config.width if config.dropout else 0
    return 20 * config.width + dropped + rotated + 4 * config.ffn_width + 16


def estimate_memory(
    config: ModelConfig, *, micro_batch: int, num_gpus: int, recompute: bool = False, sharded: bool = False
) -> Memory:
    """Return what a training step in bfloat16 with AdamW takes on a GPU.

    Args:
        config: The model.
        micro_batch: Sequences that a GPU computes at once.
        num_gpus: Over which FSDP spreads parameters, gradients and moments.
        recompute: Whether the layers keep their inputs alone, and are computed again for the gradient.
        sharded: FSDP in place of DDP, where each GPU has all: two layers at a time are gathered, in bfloat16 with
            gradients in float32.

    Source:
        Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models", 2020; Zhao et al.,
        "PyTorch FSDP", 2023.
    """
    num_parameters, layer = count_parameters(config), count_layer_parameters(config)
    tokens = micro_batch * config.context_length
    of_layer, copies = tokens * count_activation_bytes(config), 2 * layer
    if sharded:
        state, copied = num_parameters * STATE_BYTES / num_gpus + 2 * layer * (2 + 4), 0
    else:
        state, copied = float(num_parameters * STATE_BYTES), copies * (1 if recompute else config.num_layers)
    kept = config.num_layers * tokens * 4 * config.width + of_layer if recompute else config.num_layers * of_layer
    head = tokens * config.vocab_size * (4 + 4)
    return Memory(state / 1e9, (kept + copied) / 1e9, head / 1e9)


def estimate_gpu_hours(config: ModelConfig, *, tokens: float, gpu: GPU, mfu: float) -> float:
    """Return the GPU-hours that training takes: operations over what a GPU does in an hour at this share of its peak.

    Raises:
        ValueError: If the share is not in (0, 1], or there are no tokens.
    """
    if not 0.0 < mfu <= 1.0:
        raise ValueError(
            f"the share of the GPU's arithmetic (MFU) is {mfu}; expected above 0 and at most 1, such as 0.4"
        )
    if not tokens > 0:
        raise ValueError(f"training on {tokens:g} tokens; expected more than 0, such as 300e9")
    return tokens * count_flop(config) / (gpu.tflops * 1e12 * mfu) / 3600
