from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from db1_model import attention
from db1_model.attention import causal_attention, sinusoids_of


def attend_as_defined(query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    q, k, v = query_key_value.permute(2, 0, 3, 1, 4)
    length, d = q.shape[-2:]
    distance = torch.arange(length)[:, None] - torch.arange(length)
    r_of_pair = r[:, (length - 1 - distance).clamp(max=length)]  # (heads, query, key, d)
    scores = torch.einsum("bhqd,bhkd->bhqk", q + content_bias[:, None], k)
    scores = scores + torch.einsum("bhqd,hqkd->bhqk", q + position_bias[:, None], r_of_pair)
    weights = (scores * d**-0.5).masked_fill(distance < 0, -torch.inf).softmax(-1)
    return torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2)


@pytest.mark.parametrize("length", [1, 7, 300])
@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_attention_in_blocks_is_the_definition_with_its_gradient(
    length: int, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "KEPT_PROBABILITY_BYTES", kept_bytes)
    generator = torch.Generator().manual_seed(length)
    shapes = (2, length, 3, 2, 8), (2, length + 1, 8), (2, 8), (2, 8)
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    towards = torch.randn(2, length, 16, generator=generator)

    actual, expected = causal_attention(*inputs), attend_as_defined(*inputs)

    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(actual, inputs, towards), torch.autograd.grad(expected, inputs, towards), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_sinusoids_are_sines_then_cosines() -> None:
    expected = [[0.0, 0.0, 1.0, 1.0], [math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]]

    torch.testing.assert_close(sinusoids_of(torch.tensor([0, 3]), 4), torch.tensor(expected))
