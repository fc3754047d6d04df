from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

BLOCK_QUERIES = 128
"""Queries that are computed together; 64 to 128 measured best on a CPU core at lengths from 96 to 1,024."""
KEPT_PROBABILITY_BYTES = 2**22
"""A layer's attention probabilities are kept for the gradient up to this size, and computed again beyond it."""


def attend_in_blocks(query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    """Attend with relative positions from all positions to themselves and to earlier ones.

    Args:
        query_key_value: Shape (batch, length, 3, heads, d).
        r: Keys of the distances length - 1, ..., 0, -1; shape (heads, length + 1, d).
        content_bias: Added to the queries before they meet keys, shape (heads, d).
        position_bias: Added to the queries before they meet distances, shape (heads, d).

    Returns:
        Shape (batch, length, heads * d).
    """
    return _attend(query_key_value, r, content_bias, position_bias)


class _CausalAttention(torch.autograd.Function):
    """Exact relative attention in blocks of queries, with its gradient.

    A block sees the keys up to its own end only, which spares half of the products; shifting distances to keys is a
    view. The probabilities are kept for the gradient while they are small, and computed again otherwise. Scores and
    probabilities are float32 whatever the inputs are.
    """

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
        batch, length, _, heads, d = query_key_value.shape
        rows = heads * batch
        q, k, v = query_key_value.permute(2, 3, 0, 1, 4)  # (heads, batch, length, d)
        qu, qv = (
            torch.add(bias[:, None, None] * d**-0.5, q, alpha=d**-0.5, out=q.new_empty(q.shape))
            for bias in (content_bias, position_bias)
        )
        qu, k, v = qu.view(rows, length, d), k.reshape(rows, length, d), v.reshape(rows, length, d)
        keep = rows * length**2 * 2 <= KEPT_PROBABILITY_BYTES
        attended, kept = [], []
        with torch.autocast(q.device.type, enabled=False):
            for first, last in cut_blocks(length):
                p = _probabilities(qu, qv, k, r, first, last)
                attended.append(torch.bmm(p.to(v.dtype), v[:, :last]))
                if keep:
                    kept.append(p)
        ctx.save_for_backward(qu, qv, k, v, r, *kept)
        return _join(attended, 1).view(heads, batch, length, d).permute(1, 2, 0, 3).reshape(batch, length, heads * d)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        qu, qv, k, v, r, *kept = ctx.saved_tensors
        heads, batch, length, d = qv.shape
        d_attended = gradients[0].view(batch, length, heads, d).permute(2, 0, 1, 3).reshape(k.shape)
        parts_qu, parts_qv, sums = [], [], []
        # the last block reaches all keys, so that its gradients can hold the sums over the blocks
        for first, last in reversed(cut_blocks(length)):
            p = kept.pop() if kept else _probabilities(qu, qv, k, r, first, last)
            d_out = d_attended[:, first:last]
            d_p = torch.bmm(d_out, v[:, :last].transpose(1, 2))
            d_scores = torch.ops.aten._softmax_backward_data(d_p.float(), p, -1, torch.float32).to(v.dtype)
            d_by_distance = unshift_keys(d_scores).view(heads, -1, last + 1)
            parts_qu.append(torch.bmm(d_scores, k[:, :last]))
            parts_qv.append(torch.bmm(d_by_distance, r[:, length - last :]).view(heads, batch, -1, d))
            parts = (
                torch.bmm(d_scores.transpose(1, 2), qu[:, first:last]),
                torch.bmm(p.to(v.dtype).transpose(1, 2), d_out),
                torch.bmm(d_by_distance.transpose(1, 2), qv[:, :, first:last].reshape(heads, -1, d)),
            )
            if not sums:
                sums = list(parts)
                continue
            for total, part in zip(
                (sums[0][:, :last], sums[1][:, :last], sums[2][:, length - last :]), parts, strict=True
            ):
                total += part
        d_k, d_v, d_r = sums
        d_qu, d_qv = _join(parts_qu[::-1], 1).view(qv.shape), _join(parts_qv[::-1], 2)
        biases = d_qu.sum((1, 2)) * d**-0.5, d_qv.sum((1, 2)) * d**-0.5
        joined = k.new_empty(batch, length, 3, heads, d)
        joined_q, joined_k, joined_v = joined.permute(2, 3, 0, 1, 4)
        torch.mul(d_qu.add_(d_qv), d**-0.5, out=joined_q)
        joined_k.copy_(d_k.view(qv.shape))
        joined_v.copy_(d_v.view(qv.shape))
        return joined, d_r, *biases


_attend = cast("Callable[..., Tensor]", torch.compiler.disable(_CausalAttention.apply))


def _join(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def cut_blocks(length: int) -> list[tuple[int, int]]:
    """Cut 0..length into blocks of nearly equal size, at most ``BLOCK_QUERIES`` long."""
    count = -(-length // BLOCK_QUERIES)
    edges = [length * block // count for block in range(count + 1)]
    return list(pairwise(edges))


def _probabilities(qu: Tensor, qv: Tensor, k: Tensor, r: Tensor, first: int, last: int) -> Tensor:
    """Attention of the queries ``first..last - 1`` to the keys before ``last``: float32, (rows, queries, keys)."""
    heads, _, length, d = qv.shape
    queries = qv[:, :, first:last].reshape(heads, -1, d)
    by_distance = multiply(queries, r[:, length - last :].transpose(1, 2)).view(len(k), last - first, last + 1)
    future = _future(last - first, qu.device)
    if qu.dtype != torch.float32:
        scores = multiply(qu[:, first:last], k[:, :last].transpose(1, 2)).add_(shift_distances(by_distance))
        scores[:, :, first:] += future
    elif first == 0:
        scores = (shift_distances(by_distance) + future).baddbmm_(qu[:, first:last], k[:, :last].transpose(1, 2))
    else:
        scores = torch.baddbmm(shift_distances(by_distance), qu[:, first:last], k[:, :last].transpose(1, 2))
        scores[:, :, first:] += future
    return torch.softmax(scores, -1)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of batches of matrices in float32, which scores cannot overflow as they can float16."""
    if a.dtype == torch.float32:
        return torch.bmm(a, b)
    if a.is_cuda:
        return torch.bmm(a, b, out_dtype=torch.float32)
    return torch.bmm(a.float(), b.float())


@lru_cache(maxsize=64)
def _future(queries: int, device: torch.device) -> Tensor:
    """Minus infinity where the key is later than the query, shape (queries, queries)."""
    return torch.full((queries, queries), -torch.inf, device=device).triu(1)


def shift_distances(by_distance: Tensor) -> Tensor:
    """Turn columns that stand for distances into columns that stand for keys.

    Args:
        by_distance: Shape (..., queries, keys + 1): columns for the distances keys - 1, ..., 0, -1. The last query
            is the last key.

    Returns:
        A view of shape (..., queries, keys); entries of later keys are meaningless.
    """
    queries, columns = by_distance.shape[-2:]
    flat = by_distance.flatten(-2)
    return flat[..., queries - 1 : queries - 1 + queries * (columns - 1)].unflatten(-1, (queries, columns - 1))


def unshift_keys(by_key: Tensor) -> Tensor:
    """Return the gradient of ``shift_distances``' input from that of its output.

    Args:
        by_key: Shape (rows, queries, keys), zero at later keys.

    Returns:
        Shape (rows, queries, keys + 1).
    """
    rows, queries, keys = by_key.shape
    flat = by_key.new_empty(rows, queries * (keys + 1))
    flat[:, : queries - 1] = 0
    flat[:, -1] = 0
    flat[:, queries - 1 : -1].view(by_key.shape).copy_(by_key)
    return flat.view(rows, queries, keys + 1)
