"""What the benchmarks compare with: a plain reading of DB1's algorithm, and a GPT of the same size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from db1_model.attention import RelativeAttention, sinusoids_of
from db1_model.block import Block
from db1_model.config import ModelConfig
from db1_model.transformer import DB1


class PlainDB1(nn.Module):
    """Computes what a ``DB1`` computes, with its weights, step by step as the published model does.

    Scores of all pairs in float32, in the published layout (batch, queries, keys, heads), the shift by padding, the
    mask, and logits at every position.

    Args:
        model: Gives the weights; text and control data, PostNorm.
    """

    def __init__(self, model: DB1) -> None:
        super().__init__()
        self.model = model

    def masked_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy over the positions of the loss mask."""
        x = self.model.embedding(batch["tokens"], batch["positions"], None, None)
        length = x.shape[1]
        distances = torch.arange(length - 1, -1, -1, device=x.device)
        sinusoids = sinusoids_of(distances.clamp(max=self.model.config.context_length), x.shape[-1])
        for layer, block in enumerate(cast("list[Block]", list(self.model.blocks))):
            x = self.apply_block(block, x, sinusoids, *self.model.position_biases(layer))
        losses = F.cross_entropy(self.model.logits(x).flatten(0, 1), batch["labels"].flatten(), reduction="none")
        mask = batch["loss_mask"].flatten().float()
        return (losses.float() * mask).sum() / mask.sum()

    @staticmethod
    def apply_block(block: Block, x: Tensor, sinusoids: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
        """Return a block's output, shape (batch, length, width)."""
        attention = block.attention
        if not isinstance(attention, RelativeAttention):
            raise ValueError("DB1 has relative positions; expected a model with position='relative'")
        q, k, v = attention.query_key_value(x).unflatten(-1, (3, attention.num_heads, -1)).unbind(2)
        r = attention.relative(sinusoids).unflatten(-1, (attention.num_heads, -1))
        batch, length, heads, d = q.shape
        by_content = torch.einsum("bind,bjnd->bijn", (q + content_bias).float(), k.float())
        by_distance = torch.einsum("bind,jnd->bijn", (q + position_bias).float(), r.float())
        padded = torch.cat([by_distance.new_zeros(batch, length, 1, heads), by_distance], dim=2)
        by_position = padded.view(batch, length + 1, length, heads)[:, 1:].reshape(by_distance.shape)
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        scores = ((by_content + by_position) * d**-0.5).masked_fill(future[None, :, :, None], -1e30)
        p = scores.softmax(2).to(v.dtype)
        attended = torch.einsum("bijn,bjnd->bind", p, v).flatten(2)
        x = block.attention_norm(x + attention.output(attended))
        value, gate = block.feed_forward.up(x).chunk(2, dim=-1)
        return block.feed_forward_norm(x + block.feed_forward.down(value * F.gelu(gate)))


class GPT(nn.Module):
    """A GPT with DB1's sizes: learned positions, layer norms before the branches, the same gated feed-forward layer.

    Args:
        config: ``num_layers``, ``width``, ``num_heads``, ``ffn_width``, ``context_length`` and the vocabulary are read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.position_embedding = nn.Embedding(config.context_length, config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(GPTBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width)

    def masked_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy over the positions of the loss mask; the head is at every position."""
        tokens = batch["tokens"]
        x = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token_embedding.weight)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten(), reduction="none")
        mask = batch["loss_mask"].flatten().float()
        return (losses * mask).sum() / mask.sum()


class GPTBlock(nn.Module):
    """Fused causal attention and a gated feed-forward layer.

    Args:
        config: As for ``GPT``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        self.up = nn.Linear(config.width, config.ffn_width)
        self.down = nn.Linear(config.ffn_width // 2, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape, (batch, length, width)."""
        joined = self.query_key_value(self.attention_norm(x)).unflatten(-1, (3, self.num_heads, -1))
        attended = F.scaled_dot_product_attention(*joined.permute(2, 0, 3, 1, 4), is_causal=True)
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        value, gate = self.up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(value * F.gelu(gate))
