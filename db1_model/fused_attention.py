from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

from db1_model.query_blocks import cut_blocks, shift_distances


def attend_by_sdpa(query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    """Attend with relative positions: blocks of queries through PyTorch's fused kernel, the position term as its bias.

    A block is computed again for its gradient, so that no two blocks' position terms are in memory at once.

    Args:
        query_key_value: Shape (batch, length, 3, heads, d).
        r: Keys of the distances length - 1, ..., 0, -1; shape (heads, length + 1, d).
        content_bias: Added to the queries before they meet keys, shape (heads, d).
        position_bias: Added to the queries before they meet distances, shape (heads, d).

    Returns:
        Shape (batch, length, heads * d).
    """
    return _attend_by_sdpa(query_key_value, r, content_bias, position_bias)


class _SDPAttention(torch.autograd.Function):
    """Keeps its inputs alone, and computes each block again for the gradient."""

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
        ctx.save_for_backward(query_key_value, r, content_bias, position_bias)
        q, k, v = query_key_value.permute(2, 0, 3, 1, 4)  # (batch, heads, length, d)
        length = q.shape[2]
        attended = [
            _attend_block(
                q[:, :, first:last], k[:, :, :last], v[:, :, :last], r[:, length - last :], content_bias, position_bias
            )
            for first, last in cut_blocks(length)
        ]
        return torch.cat(attended, dim=2).transpose(1, 2).flatten(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query_key_value, *others = ctx.saved_tensors
        q, k, v = query_key_value.permute(2, 0, 3, 1, 4)
        r, content_bias, position_bias = others
        length = q.shape[2]
        d_attended = gradients[0].unflatten(-1, (q.shape[1], -1)).transpose(1, 2)  # (batch, heads, length, d)
        sums = [torch.zeros_like(x, dtype=torch.float32) for x in (query_key_value, *others)]
        d_q, d_k, d_v = sums[0].permute(2, 0, 3, 1, 4)
        for first, last in cut_blocks(length):
            parts = q[:, :, first:last], k[:, :, :last], v[:, :, :last], r[:, length - last :]
            inputs = [x.detach().requires_grad_() for x in (*parts, content_bias, position_bias)]
            with torch.enable_grad():
                attended = _attend_block(*inputs)
            found = torch.autograd.grad(attended, inputs, d_attended[:, :, first:last])
            totals = d_q[:, :, first:last], d_k[:, :, :last], d_v[:, :, :last], sums[1][:, length - last :], *sums[2:]
            for total, part in zip(totals, found, strict=True):
                total += part
        return tuple(total.to(x.dtype) for total, x in zip(sums, ctx.saved_tensors, strict=True))


_attend_by_sdpa = cast("Callable[..., Tensor]", torch.compiler.disable(_SDPAttention.apply))


def attend_by_flex(query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    """Attend with relative positions by FlexAttention, which adds the position term to each score and skips the future.

    The position term of all pairs, without the scores, is in memory once; it is computed again for the gradient.

    Args:
        query_key_value: Shape (batch, length, 3, heads, d).
        r: Keys of the distances length - 1, ..., 0, -1; shape (heads, length + 1, d).
        content_bias: Added to the queries before they meet keys, shape (heads, d).
        position_bias: Added to the queries before they meet distances, shape (heads, d).

    Returns:
        Shape (batch, length, heads * d).

    Source:
        Dong et al., "Flex attention: a programming model for generating optimized attention kernels", 2024.
    """
    q, k, v = query_key_value.permute(2, 0, 3, 1, 4)  # (batch, heads, length, d)
    attended = cast(
        Tensor,
        checkpoint(
            _attend_by_flex, q, k, v, r, content_bias, position_bias, use_reentrant=False, preserve_rng_state=False
        ),
    )
    return attended.transpose(1, 2).flatten(2)


def _attend_block(q: Tensor, k: Tensor, v: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    """Attention of the last queries to all keys, shape (batch, heads, queries, d)."""
    queries, keys = q.shape[2], k.shape[2]
    by_distance = _multiply_distances(q, r, position_bias)
    future = torch.ones(queries, keys, dtype=torch.bool, device=q.device).triu(keys - queries + 1)
    bias = shift_distances(by_distance).masked_fill(future, -torch.inf)
    return F.scaled_dot_product_attention(q + content_bias[:, None], k, v, attn_mask=bias)


def _attend_by_flex(q: Tensor, k: Tensor, v: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    length = q.shape[2]
    by_distance = _multiply_distances(q, r, position_bias)

    def add_position(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + by_distance[batch, head, query, (length - 1 - query + key).clamp(max=length)]

    attend = _compiled_flex_attention() if q.is_cuda else flex_attention
    mask = _causal_mask(length, q.device)
    return cast(Tensor, attend(q + content_bias[:, None], k, v, score_mod=add_position, block_mask=mask))


def _multiply_distances(q: Tensor, r: Tensor, position_bias: Tensor) -> Tensor:
    """The position term of each query and distance, shape (batch, heads, queries, distances)."""
    scaled = (q + position_bias[:, None]) * q.shape[-1] ** -0.5
    return scaled @ r.transpose(1, 2)


@lru_cache(maxsize=1)
def _compiled_flex_attention() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=False)


@lru_cache(maxsize=8)
def _causal_mask(length: int, device: torch.device) -> BlockMask:
    return create_block_mask(
        lambda batch, head, query, key: query >= key, None, None, length, length, device=str(device)
    )
