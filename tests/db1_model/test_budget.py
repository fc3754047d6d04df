from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from db1_model.attention import RelativeAttention, sinusoids_of
from db1_model.block import Block
from db1_model.budget import (
    GPUS,
    count_activation_bytes,
    count_flop,
    count_parameters,
    estimate_gpu_hours,
    estimate_memory,
)
from db1_model.config import ModelConfig
from db1_model.presets import PRESETS, get_preset
from db1_model.rotary import rotations_of
from db1_model.transformer import DB1

TINY = ModelConfig(2, 32, 2, 16, 16, 300, num_bins=32, patch_channels=8)


@pytest.mark.parametrize("config", [*(make() for make in PRESETS.values()), TINY, replace(TINY, position="rope")])
def test_parameters_are_counted_as_the_model_has_them(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = DB1(config)

    assert count_parameters(config) == sum(parameter.numel() for parameter in model.parameters())


def test_a_token_takes_six_operations_a_weight_and_attentions_products() -> None:
    config = get_preset("db1-1.2b")

    assert count_parameters(config) == 1_210_585_216
    assert count_flop(config, context=1) / (6 * count_parameters(config)) == pytest.approx(0.89, abs=0.01)  # no tables
    assert count_flop(config) - count_flop(replace(config, position="rope")) == 6 * 24 * 2048 * 1024
    assert count_flop(config) == pytest.approx(7.35e9, rel=1e-3)


@pytest.mark.parametrize(("kind", "mfu", "gpu_days"), [("H100", 0.4, 64.5), ("A100", 0.5, 163.7)])
def test_300_billion_tokens_of_db1_take_as_many_gpu_days_as_by_hand(kind: str, mfu: float, gpu_days: float) -> None:
    hours = estimate_gpu_hours(get_preset("db1-1.2b"), tokens=300e9, gpu=GPUS[kind], mfu=mfu)

    assert hours / 24 == pytest.approx(gpu_days, rel=2e-3)
    with pytest.raises(ValueError, match=r"MFU\) is 40; expected"):
        estimate_gpu_hours(get_preset("db1-1.2b"), tokens=300e9, gpu=GPUS[kind], mfu=40)


def count_saved_bytes(config: ModelConfig, batch: int, length: int) -> int:
    """Return the bytes that a layer keeps for its gradient, with a fused attention."""
    block, d, kept = Block(config), config.width // config.num_heads, {}
    if isinstance(block.attention, RelativeAttention):
        block.attention.kernel = "sdpa"
    biases = [torch.zeros(config.num_heads, d, requires_grad=True) for _ in range(2)]
    distances = sinusoids_of(torch.arange(length - 1, -2, -1), config.width)
    if config.position == "rope":
        biases, distances = [], rotations_of(torch.arange(length), d)

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    x = torch.randn(batch, length, config.width, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        block(x, distances, *biases).sum()
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("changes", [{}, {"norm": "pre"}, {"position": "rope"}, {"ffn_width": 96}])
def test_a_layer_keeps_as_many_bytes_as_its_saved_tensors_have(changes: dict[str, Any]) -> None:
    config = ModelConfig(1, 32, 2, 64, 64, 31, num_bins=8, num_discrete=8, dropout=0.0, **changes)
    one, two = (count_saved_bytes(config, batch, 64) for batch in (1, 2))

    assert (two - one) / 64 == count_activation_bytes(config)


def test_sharding_divides_the_state_and_recomputing_the_activations() -> None:
    config = get_preset("db1-1.2b")
    ddp, fsdp = (estimate_memory(config, micro_batch=8, num_gpus=16, sharded=one) for one in (False, True))
    recomputed = estimate_memory(config, micro_batch=8, num_gpus=16, recompute=True)

    assert ddp.state == pytest.approx(16 * 1.210585, rel=1e-4)
    assert ddp.total == pytest.approx(40, abs=2)  # benchmarks.memory counts 40 GB
    assert fsdp.state == pytest.approx(ddp.state / 16 + 2 * 0.0462 * 6, abs=0.02)
    assert recomputed.activations < ddp.activations / 4
