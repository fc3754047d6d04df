from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

BLOCK_QUERIES = 128
"""Queries that are computed together; 64 to 128 measured best on a CPU core at lengths from 96 to 1,024."""
BLOCK_SCORES = 3 * 2**18
"""Scores of a block that are computed together on a CPU: 3 MiB, which stay in its cache."""
KEPT_PROBABILITY_BYTES = 2**25
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
    view. Blocks of a few sequences of one head at a time stay in a core's cache. The probabilities are kept for the
    gradient while they are small, and computed again otherwise. Scores and probabilities are float32 whatever the
    inputs are.
    """

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
        batch, length, _, heads, d = query_key_value.shape
        q, k, v = query_key_value.permute(2, 3, 0, 1, 4)  # (heads, batch, length, d)
        qu, qv = (
            torch.add(bias[:, None, None] * d**-0.5, q, alpha=d**-0.5, out=q.new_empty(q.shape))
            for bias in (content_bias, position_bias)
        )
        inputs = _Parts(qu, qv, k.contiguous(), v.contiguous(), r)
        keep = heads * batch * length**2 * 2 <= KEPT_PROBABILITY_BYTES
        joined, kept = v.new_empty(batch, length, heads, d), []
        attended = joined.permute(2, 0, 1, 3)
        with torch.autocast(q.device.type, enabled=False):
            for group in _cut_rows(inputs.v):
                parts = inputs.take(group)
                for first, last in cut_blocks(length):
                    p = _probabilities(parts, first, last)
                    part = attended[group][:, :, first:last]
                    part.copy_(torch.bmm(p.to(v.dtype), parts.v.flatten(0, 1)[:, :last]).view(part.shape))
                    if keep:
                        kept.append(p)
        ctx.save_for_backward(*inputs, *kept)
        return joined.flatten(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        saved = ctx.saved_tensors
        inputs, kept = _Parts(*saved[:5]), list(saved[5:])
        heads, batch, length, d = inputs.v.shape
        d_attended = gradients[0].unflatten(-1, (heads, d)).permute(2, 0, 1, 3).contiguous()
        sums = _Parts(*(torch.empty_like(x) for x in inputs))
        for group in reversed(_cut_rows(inputs.v)):
            last_rows = group[1].stop >= batch
            _differentiate(inputs.take(group), d_attended[group], sums.take(group), kept, begin_r=last_rows)
        biases = sums.qu.sum((1, 2)) * d**-0.5, sums.qv.sum((1, 2)) * d**-0.5
        joined = inputs.k.new_empty(batch, length, 3, heads, d)
        joined_q, joined_k, joined_v = joined.permute(2, 3, 0, 1, 4)
        torch.mul(sums.qu.add_(sums.qv), d**-0.5, out=joined_q)
        joined_k.copy_(sums.k)
        joined_v.copy_(sums.v)
        return joined, sums.r, *biases


class _Parts(NamedTuple):
    """Inputs, or sums of their gradients: queries with the content and with the position bias, keys, values, distances.

    All but r have shape (heads, batch, length, d), r has (heads, length + 1, d).
    """

    qu: Tensor
    qv: Tensor
    k: Tensor
    v: Tensor
    r: Tensor

    def take(self, group: tuple[slice, slice]) -> _Parts:
        """Return a view of some heads and sequences."""
        return _Parts(self.qu[group], self.qv[group], self.k[group], self.v[group], self.r[group[0]])


def _differentiate(parts: _Parts, d_attended: Tensor, sums: _Parts, kept: list[Tensor], *, begin_r: bool) -> None:
    """Write the gradients of a group; those of r are added to what is there unless they begin it.

    Args:
        parts: The inputs.
        d_attended: Gradient of the attention, shape (heads, batch, length, d).
        sums: Gradients of the inputs, written in place.
        kept: Probabilities of the blocks, taken from the end; computed again when there are none.
        begin_r: Whether the gradients of r begin here.
    """
    qu, k, v, d_attended = (x.flatten(0, 1) for x in (parts.qu, parts.k, parts.v, d_attended))
    d_qu, d_qv, d_k, d_v = (x.flatten(0, 1) for x in sums[:4])
    heads, _, length, d = parts.v.shape
    # the last block reaches all keys and distances, and so gives the others' sums their first value
    for first, last in reversed(cut_blocks(length)):
        p = kept.pop() if kept else _probabilities(parts, first, last)
        d_out = d_attended[:, first:last]
        d_p = torch.bmm(d_out, v[:, :last].transpose(1, 2))
        d_scores = torch.ops.aten._softmax_backward_data(d_p.float(), p, -1, torch.float32).to(v.dtype)
        d_by_distance = unshift_keys(d_scores).view(heads, -1, last + 1)
        queries, r = parts.qv[:, :, first:last].flatten(1, 2), parts.r[:, length - last :]
        begin = last == length
        _multiply_into(d_qu[:, first:last], d_scores, k[:, :last], begin=True)
        d_qv[:, first:last] = torch.bmm(d_by_distance, r).view(-1, last - first, d)
        _multiply_into(d_k[:, :last], d_scores.transpose(1, 2), qu[:, first:last], begin=begin)
        _multiply_into(d_v[:, :last], p.to(v.dtype).transpose(1, 2), d_out, begin=begin)
        _multiply_into(sums.r[:, length - last :], d_by_distance.transpose(1, 2), queries, begin=begin and begin_r)


_attend = cast("Callable[..., Tensor]", torch.compiler.disable(_CausalAttention.apply))


def _multiply_into(total: Tensor, a: Tensor, b: Tensor, *, begin: bool) -> None:
    """Write the products of batches of matrices, or add them to what is there."""
    if not begin:
        total += torch.bmm(a, b)
    elif total.is_contiguous():
        torch.bmm(a, b, out=total)
    else:
        total.copy_(torch.bmm(a, b))


def _cut_rows(values: Tensor) -> list[tuple[slice, slice]]:
    """Groups of heads and sequences whose blocks of scores are at most ``BLOCK_SCORES`` together on a CPU."""
    heads, batch, length, _ = values.shape
    scores = min(length, BLOCK_QUERIES) * length
    if values.device.type != "cpu":
        return [(slice(0, heads), slice(0, batch))]
    if batch * scores > BLOCK_SCORES:
        rows = max(1, BLOCK_SCORES // scores)
        return [(slice(h, h + 1), slice(row, row + rows)) for h in range(heads) for row in range(0, batch, rows)]
    together = min(heads, BLOCK_SCORES // (batch * scores))
    return [(slice(h, h + together), slice(0, batch)) for h in range(0, heads, together)]


def cut_blocks(length: int) -> list[tuple[int, int]]:
    """Cut 0..length into blocks of nearly equal size, at most ``BLOCK_QUERIES`` long."""
    count = -(-length // BLOCK_QUERIES)
    edges = [length * block // count for block in range(count + 1)]
    return list(pairwise(edges))


def _probabilities(parts: _Parts, first: int, last: int) -> Tensor:
    """Attention of the queries ``first..last - 1`` to the keys before ``last``: float32, (rows, queries, keys)."""
    qu, length = parts.qu, parts.k.shape[2]
    queries, keys = qu.flatten(0, 1)[:, first:last], parts.k.flatten(0, 1)[:, :last].transpose(1, 2)
    by_distance = multiply(parts.qv[:, :, first:last].flatten(1, 2), parts.r[:, length - last :].transpose(1, 2))
    shifted = shift_distances(by_distance.view(-1, last - first, last + 1))
    future = _future(last - first, qu.device)
    if qu.dtype != torch.float32:
        scores = multiply(queries, keys).add_(shifted)
        scores[:, :, first:] += future
    elif first == 0:
        scores = (shifted + future).baddbmm_(queries, keys)
    else:
        scores = torch.baddbmm(shifted, queries, keys)
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
