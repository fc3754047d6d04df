from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from db1_model.config import ModelConfig


class RelativeAttention(nn.Module):
    """Causal self-attention with relative positions.

    The score of a query q and a key k at distance t is ``((q + u) k + (q + v) r(t)) / sqrt(d)``, where r(t) is a
    projection of a sinusoid of t and u, v are biases that all layers may share.

    Args:
        config: ``width`` and ``num_heads`` are read.

    Source:
        Dai et al., "Transformer-XL: attentive language models beyond a fixed-length context", 2019.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width, bias=False)
        self.relative = nn.Linear(config.width, config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, sinusoids: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
        """Attend from every position to itself and all earlier ones.

        Args:
            x: Shape (batch, length, width).
            sinusoids: Of the distances length - 1, ..., 0, -1; shape (length + 1, width).
            content_bias: u, shape (heads, width / heads).
            position_bias: v, shape (heads, width / heads).

        Returns:
            Shape (batch, length, width).
        """
        batch, length, width = x.shape
        shape = batch, length, 3, self.num_heads, width // self.num_heads
        q, k, v = self.query_key_value(x).view(shape).permute(2, 3, 0, 1, 4)  # (heads, batch, length, d)
        r = self.relative(sinusoids).view(length + 1, self.num_heads, -1).transpose(0, 1)  # (heads, length + 1, d)
        attended = causal_attention(q, k, v, r, content_bias, position_bias)
        return self.output(attended.permute(1, 2, 0, 3).reshape(batch, length, width))


def causal_attention(q: Tensor, k: Tensor, v: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    """Return the attention of all positions to themselves and to earlier ones, shape (heads, batch, length, d).

    Args:
        q: Queries, shape (heads, batch, length, d).
        k: Keys, of the same shape.
        v: Values, of the same shape.
        r: Keys of the distances length - 1, ..., 0, -1; shape (heads, length + 1, d).
        content_bias: Added to the queries before they meet keys, shape (heads, d).
        position_bias: Added to the queries before they meet distances, shape (heads, d).
    """
    length, d = q.shape[-2:]
    content = (q + content_bias[:, None, None]) @ k.transpose(-2, -1)
    by_distance = (q + position_bias[:, None, None]) @ r[:, None].transpose(-2, -1)
    scores = (content + shift_distances(by_distance)).float() * d**-0.5
    future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    return F.softmax(scores.masked_fill(future, -torch.inf), dim=-1).to(v.dtype) @ v


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


def sinusoids_of(distances: Tensor, width: int) -> Tensor:
    """Return ``[sin | cos]`` of the distances at frequencies 10000^(-2i/width), float32 of shape (distances, width)."""
    frequencies = 10000 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=distances.device) / width)
    angles = distances[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
