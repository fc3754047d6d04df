from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from db1_model.config import ModelConfig
from db1_model.fused_attention import attend_by_flex, attend_by_sdpa
from db1_model.query_blocks import attend_in_blocks
from db1_model.rotary import rotate

Kernel = Literal["auto", "blocks", "sdpa", "flex"]
"""What computes relative attention: see ``choose_kernel``."""


class Attention(nn.Module):
    """The matrices of causal self-attention, without biases.

    Args:
        config: ``width`` and ``num_heads`` are read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def project(self, x: Tensor) -> Tensor:
        """Return queries, keys and values, shape (batch, length, 3, heads, width / heads)."""
        return self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))


class RelativeAttention(Attention):
    """Causal self-attention with relative positions.

    The score of a query q and a key k at distance t is ``((q + u) k + (q + v) r(t)) / sqrt(d)``, where r(t) is a
    projection of a sinusoid of t and u, v are biases that all layers may share.

    Args:
        config: ``width`` and ``num_heads`` are read.

    Source:
        Dai et al., "Transformer-XL: attentive language models beyond a fixed-length context", 2019.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.kernel: Kernel = "auto"
        self.relative = nn.Linear(config.width, config.width, bias=False)

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
        query_key_value = self.project(x)
        dtype = query_key_value.dtype
        biases = content_bias.to(dtype), position_bias.to(dtype)
        attend = _KERNELS[choose_kernel(self.kernel, query_key_value)]
        return self.output(attend(query_key_value, self.relative_keys(sinusoids).to(dtype), *biases))

    def relative_keys(self, sinusoids: Tensor) -> Tensor:
        """Project sinusoids of shape (distances, width) to keys of shape (heads, distances, width / heads)."""
        return self.relative(sinusoids).unflatten(-1, (self.num_heads, -1)).transpose(0, 1)


class RotaryAttention(Attention):
    """Causal self-attention whose queries and keys are rotated by their positions: one fused kernel, no other term."""

    def forward(self, x: Tensor, rotations: Tensor) -> Tensor:
        """Attend from every position to itself and all earlier ones.

        Args:
            x: Shape (batch, length, width).
            rotations: Of the positions, shape (length, 2, width / heads / 2).

        Returns:
            Shape (batch, length, width).
        """
        query_key_value = self.project(x)
        q, k = rotate(query_key_value[:, :, :2], rotations[:, None, None]).permute(2, 0, 3, 1, 4)
        v = query_key_value[:, :, 2].transpose(1, 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (batch, heads, length, d)
        return self.output(attended.transpose(1, 2).flatten(2))


_KERNELS = {"blocks": attend_in_blocks, "sdpa": attend_by_sdpa, "flex": attend_by_flex}


def choose_kernel(kernel: Kernel, query_key_value: Tensor) -> Kernel:
    """Return the kernel that computes relative attention of these queries, keys and values.

    ``blocks`` runs anywhere and is the fastest on a CPU; ``sdpa`` passes blocks of queries to PyTorch's fused kernel,
    and is what ``auto`` takes on a GPU; ``flex`` is FlexAttention, for a GPU. The fused kernels take the position term
    in the type of the queries, which float16 may overflow; ``blocks`` has all scores in float32.

    Raises:
        ValueError: If there is no such kernel, or it cannot compute these.
    """
    is_half = query_key_value.dtype == torch.float16
    if kernel == "auto":
        return "sdpa" if query_key_value.is_cuda and not is_half else "blocks"
    if kernel not in get_args(Kernel):
        raise ValueError(f"no attention kernel {kernel!r}; expected one of {', '.join(get_args(Kernel))}")
    if is_half and kernel != "blocks":
        raise ValueError(f"attention={kernel!r} for float16, whose scores it may overflow; expected 'blocks' or 'auto'")
    if kernel == "flex" and not query_key_value.is_cuda and query_key_value.requires_grad:
        raise ValueError("attention='flex' has no gradient on a CPU; expected 'blocks', 'sdpa' or 'auto'")
    return kernel


def sinusoids_of(distances: Tensor, width: int) -> Tensor:
    """Return ``[sin | cos]`` of the distances at frequencies 10000^(-2i/width), float32 of shape (distances, width)."""
    frequencies = 10000 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=distances.device) / width)
    angles = distances[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
