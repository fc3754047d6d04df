from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def rotations_of(positions: Tensor, head_width: int) -> Tensor:
    """Return cosines and sines of the positions at frequencies 10000^(-2i/d).

    Args:
        positions: Whole numbers of any shape; angles are reduced in float64, so that far positions stay exact.
        head_width: d, even.

    Returns:
        float32 of shape (*positions' shape, 2, d / 2).
    """
    halves = torch.arange(0, head_width, 2, dtype=torch.float64, device=positions.device)
    angles = positions[..., None].double() * 10000 ** (-halves / head_width)
    return torch.stack([angles.cos(), angles.sin()], dim=-2).float()


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of the last axis by its angle, so that products depend on distances alone.

    Args:
        x: Queries or keys, shape (..., d).
        rotations: As ``rotations_of`` gives, broadcastable to ``x``: shape (..., 2, d / 2).

    Returns:
        The type and shape of ``x``.

    Source:
        Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
    """
    rotations = rotations.to(x.dtype)
    if torch.compiler.is_compiling():
        (first, second), (cos, sin) = x.chunk(2, dim=-1), rotations.unbind(-2)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return cast(Tensor, _Rotation.apply(x, rotations))


class _Rotation(torch.autograd.Function):
    """The gradient is the opposite rotation, so that nothing but the angles is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rotations: Tensor) -> Tensor:
        ctx.save_for_backward(rotations)
        cos, sin = rotations.unbind(-2)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        cos, sin = ctx.saved_tensors[0].unbind(-2)
        return _turn(gradients[0], cos, -sin), None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    turned = torch.empty_like(x)
    turned_first, turned_second = turned.chunk(2, dim=-1)
    torch.mul(first, cos, out=turned_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=turned_second).addcmul_(first, sin)
    return turned
