from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

ROW_MULTIPLE = 64
"""Products have a multiple of this many rows, so that few shapes occur: a new shape costs oneDNN a compilation."""


def find_loss_places(loss_mask: Tensor) -> Tensor:
    """Return the flat indices of a loss mask's positions, int64 of shape (positions,)."""
    return loss_mask.flatten().nonzero().squeeze(1)


def mean_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats of a linear head without bias; zero when there are no rows.

    Logits exist once and become their own gradient; softmax and loss are float32 whatever the inputs are.

    Args:
        hidden: Shape (rows, width).
        weight: The head's weight, shape (vocabulary, width).
        labels: The right token of each row, int64 of shape (rows,).
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    return cast(Tensor, _MeanCrossEntropy.apply(hidden, weight, labels))


def pad_rows(x: Tensor, value: int = 0) -> Tensor:
    """Append rows of a value up to a multiple of ``ROW_MULTIPLE``."""
    missing = -len(x) % ROW_MULTIPLE
    return F.pad(x, (0, 0, 0, missing), value=value) if missing else x


class _MeanCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        rows = len(labels)
        index = labels[:, None]
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = pad_rows(hidden)
            log_p = torch.log_softmax((hidden @ weight.T).float(), -1)
        loss = -log_p[:rows].gather(1, index).sum() / max(rows, 1)
        d_logits = log_p.exp_()
        d_logits[:rows].scatter_add_(1, index, d_logits.new_full(index.shape, -1.0))
        d_logits[rows:] = 0
        ctx.rows = rows
        ctx.save_for_backward(hidden, weight, d_logits.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, d_logits = ctx.saved_tensors
        scale = gradients[0].to(weight.dtype) / max(ctx.rows, 1)
        return (d_logits @ weight)[: ctx.rows] * scale, (d_logits.T @ hidden) * scale, None
