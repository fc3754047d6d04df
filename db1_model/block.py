from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from db1_model.attention import RelativeAttention, RotaryAttention
from db1_model.config import ModelConfig
from db1_model.streaming import Step


class Block(nn.Module):
    """Attention and a gated feed-forward layer, each with a residual and a layer norm.

    Args:
        config: The model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = config.norm
        self.dropout = config.dropout
        self.residual_scale = (2 * config.num_layers) ** 0.25 if config.norm == "deep" else 1.0
        self.attention = RotaryAttention(config) if config.position == "rope" else RelativeAttention(config)
        self.attention_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, distances: Tensor, *biases: Tensor) -> Tensor:
        """Return the next layer's input, shape (batch, length, width); see the attentions for the other arguments."""
        attended = self.attention(self._before(x, self.attention_norm), distances, *biases)
        return self._feed_forward(self._join(x, attended, self.attention_norm))

    def step(self, x: Tensor, step: Step, layer: int, *biases: Tensor) -> Tensor:
        """Return the next layer's input of the positions that it asks for; they also attend to what the memory holds.

        Args:
            x: Shape (1, positions, width).
            step: What the memory holds.
            layer: The block's number.
            *biases: As in ``forward``.
        """
        query_key_value = self.attention.project(self._before(x, self.attention_norm))
        attended = self.attention.output(step.attend(layer, query_key_value[0], *biases)[None])
        return self._feed_forward(self._join(step.narrow(layer, x[0])[None], attended, self.attention_norm))

    def zero_key_value(self) -> Tensor:
        """Return the key and the value of a hidden state of zero, shape (2, heads, width / heads)."""
        zero = self.attention_norm.weight.new_zeros(1, 1, len(self.attention_norm.weight))
        return self.attention.project(self._before(zero, self.attention_norm))[0, 0, 1:]

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self._join(x, self.feed_forward(self._before(x, self.feed_forward_norm)), self.feed_forward_norm)

    def _before(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return norm(x) if self.norm == "pre" else x

    def _join(self, x: Tensor, branch: Tensor, norm: nn.LayerNorm) -> Tensor:
        if self.dropout:
            branch = F.dropout(branch, self.dropout, self.training)
        if self.norm == "pre":
            return x + branch
        return norm(torch.add(branch, x, alpha=self.residual_scale))

    def shrink(self, factor: float) -> None:
        """Scale the initial weights of values, outputs and the feed-forward layer by DeepNorm's factor.

        Source:
            Wang et al., "DeepNet: scaling transformers to 1,000 layers", 2022.
        """
        values = self.attention.query_key_value.weight.chunk(3)[2]
        with torch.no_grad():
            for weight in (values, self.attention.output.weight, self.feed_forward.up.weight):
                weight.mul_(factor)
            self.feed_forward.down.weight.mul_(factor)


class FeedForward(nn.Module):
    """A linear layer whose one half gates the other through GELU, and a linear layer back.

    Args:
        config: ``width`` and ``ffn_width`` are read.

    Source:
        Shazeer, "GLU variants improve transformer", 2020.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.ffn_width)
        self.down = nn.Linear(config.ffn_width // 2, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        up = self.up(x)
        if torch.compiler.is_compiling():
            value, gate = up.chunk(2, dim=-1)
            return self.down(value * F.gelu(gate))
        return self.down(cast(Tensor, _GatedGELU.apply(up)))


class _GatedGELU(torch.autograd.Function):
    """The first half times GELU of the second; writes the gradient of both halves in place of joining copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        gelu = F.gelu(gate)
        ctx.save_for_backward(x, gelu)
        return value * gelu

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, gelu = ctx.saved_tensors
        value, gate = x.chunk(2, dim=-1)
        d_x = torch.empty_like(x)
        d_value, d_gate = d_x.chunk(2, dim=-1)
        torch.mul(gradients[0], gelu, out=d_value)
        torch.ops.aten.gelu_backward.grad_input(gradients[0] * value, gate, grad_input=d_gate)
        return d_x
