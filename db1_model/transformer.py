from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from db1_model.attention import Kernel, RelativeAttention, sinusoids_of
from db1_model.block import Block
from db1_model.config import ModelConfig
from db1_model.embedding import Embedding
from db1_model.images import Patches
from db1_model.loss import find_loss_places, mean_cross_entropy
from db1_model.memory import Memory
from db1_model.ring import ring_size
from db1_model.rotary import rotations_of
from db1_model.streaming import Step


class DB1(nn.Module):
    """The decoder: tokens, image patches and numbers in, hidden states and logits of the next token out.

    Args:
        config: The model's sizes and choices.

    Source:
        Wen et al., "On realization of intelligent decision-making in the real world: a foundation decision model
        perspective", 2022.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        if config.position == "relative":
            biases = config.num_layers if config.untie_relative_bias else 1
            shape = biases, config.num_heads, config.width // config.num_heads
            self.content_bias, self.position_bias = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))
        self._distances: dict[tuple[int, torch.device], Tensor] = {}
        self._checkpoint_activations = False
        self._initialise()

    def choose_execution(
        self, *, attention: Kernel = "auto", checkpoint_activations: bool = False, compile_blocks: bool = False
    ) -> None:
        """Choose how the model is computed, which changes its speed and memory, but not what it computes.

        Args:
            attention: What computes relative attention, see ``choose_kernel``.
            checkpoint_activations: Whether training keeps only each block's input and computes the rest again for the
                gradient: a third more work for a fraction of the memory.
            compile_blocks: Whether the blocks are compiled by ``torch.compile`` at their first use.
        """
        self._checkpoint_activations = checkpoint_activations
        for block in self._blocks():
            if isinstance(block.attention, RelativeAttention):
                block.attention.kernel = attention
            if compile_blocks:
                block.compile()

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        *,
        numbers: Tensor | None = None,
        patches: Patches | None = None,
    ) -> Tensor:
        """Return the hidden states, shape (batch, length, width); each depends on its own and earlier positions.

        Args:
            tokens: int64 of shape (batch, length); -1 is an image patch, -2 a run of numbers.
            positions: Local positions of the same shape, -1 where a token has none; None when no token has one.
            numbers: Token ids of the runs, in the order of their places, padded with -1; shape (runs, numbers).
            patches: The patches, in the order of their places.
        """
        x = self._drop(self.embedding(tokens, positions, numbers, patches))
        distances = self._distances_to(tokens.shape[1], x.device)
        if self.config.position == "relative":
            distances = self._drop(distances)
        recompute = self._checkpoint_activations and torch.is_grad_enabled()
        for layer, block in enumerate(self._blocks()):
            if recompute:
                x = cast(Tensor, checkpoint(block, x, distances, *self.position_biases(layer), use_reentrant=False))
            else:
                x = block(x, distances, *self.position_biases(layer))
        return x

    def make_memory(self, num_slots: int) -> Memory:
        """Return an empty memory for streaming with the present weights.

        Args:
            num_slots: Episodes that it holds.
        """
        config, blocks = self.config, list(self._blocks())
        with torch.inference_mode():
            relative_keys = []
            if config.position == "relative":
                distances = torch.arange(ring_size(config), device=self.device).clamp(max=config.context_length)
                sinusoids = sinusoids_of(distances, config.width).to(self.content_bias.dtype)
                attentions = [block.attention for block in blocks]
                relative_keys = [
                    one.relative_keys(sinusoids) for one in attentions if isinstance(one, RelativeAttention)
                ]
            return Memory(config, relative_keys, [block.zero_key_value() for block in blocks], num_slots=num_slots)

    @torch.inference_mode()
    def step(
        self,
        tokens: Tensor,
        positions: Tensor | None,
        memory: Memory,
        *,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
        numbers: Tensor | None = None,
        patches: Patches | None = None,
    ) -> Tensor:
        """Return the hidden states of the next positions of the episodes that the memory has selected, and remember.

        Args:
            tokens: int64 of shape (episodes, length), as in ``forward``, or (sum of ``lengths``,).
            positions: Of the same shape, as in ``forward``.
            memory: Made by ``make_memory``.
            lengths: How many positions each episode gets; they stand one episode after another.
            last_only: Whether to return the hidden states of each episode's last position alone, which costs less.
            numbers: As in ``forward``.
            patches: As in ``forward``.

        Returns:
            Shape (..., width) where the tokens' is (...), or (episodes, width) with ``last_only``; an inference tensor,
            of no use where gradients are recorded.
        """
        shape = tokens.shape
        counts = [shape[1]] * shape[0] if lengths is None else list(lengths)
        positions = None if positions is None else positions.reshape(1, -1)
        x = self.embedding(tokens.reshape(1, -1), positions, numbers, patches)[0]
        if max(counts) <= memory.longest_step:
            hidden = self._pass(x, memory.begin_step(counts, last_only=last_only))
        else:
            hidden = self._pass_in_parts(x, counts, memory)
            if last_only:
                hidden = hidden[torch.tensor(counts).cumsum(0).to(x.device) - 1]
        return hidden if last_only else hidden.unflatten(0, shape)

    def _pass(self, x: Tensor, step: Step) -> Tensor:
        """Hidden states of the positions that a step asks for; ``x`` are embeddings of shape (positions, width)."""
        x = x[None]
        for layer, block in enumerate(self._blocks()):
            x = block.step(x, step, layer, *self.position_biases(layer))
        return x[0]

    def _pass_in_parts(self, x: Tensor, counts: Sequence[int], memory: Memory) -> Tensor:
        """Hidden states of all positions, of which some episodes have more than a step takes."""
        hidden = torch.empty_like(x)
        places = torch.arange(len(x), device=x.device).split(list(counts))
        for begin in range(0, max(counts), memory.longest_step):
            parts = [episode[begin : begin + memory.longest_step] for episode in places]
            chosen = torch.cat(parts)
            hidden[chosen] = self._pass(x[chosen], memory.begin_step([len(part) for part in parts]))
        return hidden

    def logits(self, hidden: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Return the logits of the tokens ``first..last - 1`` (of all by default) after these hidden states.

        Args:
            hidden: Shape (..., width).
            first: First token of the slice.
            last: Token after the slice's last.
        """
        return F.linear(hidden, self.embedding.token_embedding.weight[first:last])

    def masked_hidden(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return hidden states and labels of the positions that count in the loss.

        Args:
            batch: ``tokens``, ``positions``, ``loss_mask`` and ``labels`` of shape (batch, length); where the tokens
                have such places, ``numbers`` of shape (runs, numbers), ``patches``, ``patch_rows`` and
                ``patch_columns`` as in ``Patches``. With ``loss_places``, the flat indices of the loss mask's
                positions, nothing waits for a GPU.

        Returns:
            Hidden states of shape (positions, width) and labels of shape (positions,).
        """
        hidden = self(batch["tokens"], batch["positions"], numbers=batch.get("numbers"), patches=patches_of(batch))
        places = batch["loss_places"] if "loss_places" in batch else find_loss_places(batch["loss_mask"])
        return hidden.flatten(0, 1)[places], batch["labels"].flatten()[places]

    def masked_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy in nats over the positions of the loss mask; zero when there are none.

        The head is computed at these positions alone, which gives the same loss as the head everywhere.

        Args:
            batch: As in ``masked_hidden``.
        """
        hidden, labels = self.masked_hidden(batch)
        return mean_cross_entropy(hidden, self.embedding.token_embedding.weight, labels)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.token_embedding.weight.device

    def position_biases(self, layer: int) -> tuple[Tensor, ...]:
        """Return the content and the position bias of a layer, shape (heads, d) each; none with rope."""
        if self.config.position == "rope":
            return ()
        index = layer if self.config.untie_relative_bias else 0
        return self.content_bias[index], self.position_bias[index]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training) if self.config.dropout else x

    def _blocks(self) -> Iterator[Block]:
        return cast("Iterator[Block]", iter(self.blocks))

    def _distances_to(self, length: int, device: torch.device) -> Tensor:
        """Sinusoids of the distances length - 1, ..., 0, -1; with rope, rotations of the positions 0, 1, ..."""
        key = length, device
        if key not in self._distances:
            config = self.config
            if config.position == "rope":
                positions = torch.arange(length, device=device)
                self._distances[key] = rotations_of(positions, config.width // config.num_heads)
            else:
                distances = torch.arange(length - 1, -2, -1, device=device).clamp(max=config.context_length)
                self._distances[key] = sinusoids_of(distances, config.width)
        return self._distances[key]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if self.config.position == "relative":
            nn.init.normal_(self.content_bias, std=0.02)
            nn.init.normal_(self.position_bias, std=0.02)
        self.embedding.initialise()
        if self.config.norm == "deep":
            for block in self._blocks():
                block.shrink((8 * self.config.num_layers) ** -0.25)


def patches_of(batch: Mapping[str, Tensor]) -> Patches | None:
    """Return the image patches of a batch; None when it has none."""
    if "patches" not in batch:
        return None
    return Patches(batch["patches"], batch["patch_rows"], batch["patch_columns"])
