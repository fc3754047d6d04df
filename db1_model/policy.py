from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.images import Patches
from db1_model.memory import Memory
from db1_model.positions import StepPositions
from db1_model.precision import fast_float32
from db1_model.sequence import StepLayout, decode_action_tokens, encode_observations
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary

Prompt = tuple[NDArray[np.uint16], NDArray[np.uint8] | None]
"""Stored tokens of expert steps, shape (steps, tokens a step), and their images or None, as ``choose_prompt`` gives."""


class DB1Policy:
    """Plays a task with a model, in many environments at once, one slot each.

    An observation and its separator are one pass, every further dimension of the action is one more. The action's last
    token enters with the next observation. An episode's past is held as keys and values.

    Args:
        model: The model; it is put into evaluation mode.
        layout: The steps of the task.
        vocabulary: The vocabulary that the model was trained with.
        tokenizer: The text tokenizer of that vocabulary.
        num_slots: Number of environments.
        prompt: Expert steps that every episode begins with.
        temperature: 0 takes the likeliest action; above it, actions are drawn with logits over the temperature.
        seed: Seed of these draws.

    Raises:
        ValueError: If layout, vocabulary and model do not belong together.
    """

    def __init__(
        self,
        model: DB1,
        layout: StepLayout,
        vocabulary: Vocabulary,
        tokenizer: TextTokenizer,
        *,
        num_slots: int,
        prompt: Prompt | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        if layout.vocabulary_digest != vocabulary.digest:
            raise ValueError(
                f"the task was tokenized with vocabulary {layout.vocabulary_digest[:12]}, the model was trained with "
                f"{vocabulary.digest[:12]}; make tokens, shards and checkpoint with one tokenizer and preset"
            )
        if vocabulary.size != model.config.vocab_size:
            raise ValueError(f"a vocabulary of {vocabulary.size} tokens; the model has {model.config.vocab_size}")
        self.model = model.eval()
        self.layout, self.vocabulary, self.tokenizer = layout, vocabulary, tokenizer
        self.places = StepPositions(layout, model.config)
        self.temperature = temperature
        self._device = model.device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        if layout.action_kind == "continuous":
            self._legal = vocabulary.bin_start, vocabulary.separator
        else:
            self._legal = 0, layout.num_actions
        local = torch.from_numpy(self.places.local_positions).to(self._device)
        self._local = local[: self.places.num_observation + 1]
        # memories of zeros are before an episode's first token, so that no column may be skipped there
        self._fold = model.config.memory == "masked"
        self._memory = model.make_memory(num_slots)
        self._prompt, self._prompt_last = self._remember(prompt) if prompt is not None else (None, None)
        # the token of each slot that the memory lacks; None at an episode's beginning
        self._pending: list[Tensor | None] = [None] * num_slots
        self.reset(range(num_slots))

    def reset(self, slots: Sequence[int]) -> None:
        """Forget what these slots saw: a new episode begins in each, after the prompt if there is one."""
        self._memory.reset(slots, self._prompt)
        for slot in slots:
            self._pending[slot] = self._prompt_last

    @torch.inference_mode()
    def act(
        self,
        slots: Sequence[int],
        observations: Sequence[Mapping[str, Any]],
        masks: Sequence[NDArray[np.bool_] | None],
    ) -> list[Any]:
        """Return an action for each slot: a whole number, or a float32 array in [-1, 1].

        Args:
            slots: The slots whose environments wait for an action.
            observations: One observation a slot.
            masks: The legal values of a discrete action, shape (values,), or None when all are legal.

        Raises:
            ValueError: If a slot is given twice or does not exist, an observation cannot be tokenized, or a mask
                allows no action.
        """
        if not slots:
            return []
        forbidden = self._forbid(slots, masks)
        batch = {key: np.array([observation[key] for observation in observations]) for key in observations[0]}
        rows, images = encode_observations(batch, self.layout, self.tokenizer, self.vocabulary)
        self._memory.select(slots)
        with fast_float32():
            hidden = self._observe(slots, rows, images)
            chosen = [self._choose(hidden, forbidden)]
            for _ in range(self.layout.action_tokens - 1):
                chosen.append(self._choose(self._step(chosen[-1]), forbidden))
            if self._fold:
                for slot, token in zip(slots, chosen[-1], strict=True):
                    self._pending[slot] = token
            else:
                self._step(chosen[-1])
        tokens = torch.stack(chosen, dim=1).cpu().numpy()
        return list(decode_action_tokens(tokens, self.layout, self.vocabulary, edge=self.model.config.bin_edge))

    def _observe(self, slots: Sequence[int], rows: NDArray[np.uint16], images: NDArray[np.uint8] | None) -> Tensor:
        """Hidden states after the separator, shape (slots, width)."""
        tokens = torch.from_numpy(self.places.place_tokens(rows)).to(self._device)
        local = self._local
        pending = [self._pending[slot] for slot in slots]
        if any(token is not None for token in pending):
            # an episode that begins now has nothing there
            self._memory.skip([row for row, token in enumerate(pending) if token is None])
            nothing = tokens.new_zeros(())
            first = torch.stack([nothing if token is None else token for token in pending])
            tokens = torch.cat([first[:, None], tokens], dim=1)
            local = torch.cat([local.new_zeros(1), local])
        hidden = self._look(tokens, local, rows, images, self._memory)
        return hidden[:, -1]

    def _look(
        self,
        tokens: Tensor,
        local: Tensor,
        rows: NDArray[np.uint16],
        images: NDArray[np.uint8] | None,
        memory: Memory,
    ) -> Tensor:
        numbers = torch.from_numpy(self.places.place_numbers(rows)).to(self._device) if self.places.num_runs else None
        patches = None
        if images is not None:
            patches = Patches(*(torch.from_numpy(x).to(self._device) for x in self.places.place_patches(images)))
        return self.model.step(tokens, local.expand(tokens.shape), memory, numbers=numbers, patches=patches)

    def _step(self, token: Tensor) -> Tensor:
        """Hidden states after one more token of the action, shape (slots, width)."""
        return self.model.step(token[:, None], torch.zeros_like(token)[:, None], self._memory)[:, -1]

    def _choose(self, hidden: Tensor, forbidden: Tensor | None) -> Tensor:
        """Choose a legal token for each hidden state, int64 of shape (slots,)."""
        first, last = self._legal
        logits = self.model.logits(hidden, first, last).float()
        if forbidden is not None:
            logits = logits.masked_fill(forbidden, -torch.inf)
        if self.temperature == 0:
            return logits.argmax(-1) + first
        p = torch.softmax(logits / self.temperature, -1)
        return torch.multinomial(p, 1, generator=self._generator).squeeze(1) + first

    def _forbid(self, slots: Sequence[int], masks: Sequence[NDArray[np.bool_] | None]) -> Tensor | None:
        if all(mask is None for mask in masks):
            return None
        legal = np.ones((len(masks), self.layout.num_actions), bool)
        for row, mask in enumerate(masks):
            if mask is not None:
                legal[row] = mask
        if not legal.any(1).all():
            raise ValueError(f"the mask of slot {slots[int(legal.any(1).argmin())]} allows no action")
        return torch.from_numpy(~legal).to(self._device)

    def _remember(self, prompt: Prompt) -> tuple[Memory, Tensor | None]:
        """Fill a memory of one slot with a prompt; its last token is left pending where tokens are folded."""
        rows, images = prompt
        tokens = torch.from_numpy(self.places.place_tokens(rows)).to(self._device).flatten()
        local = torch.from_numpy(np.tile(self.places.local_positions, len(rows))).to(self._device)
        memory = self.model.make_memory(1)
        memory.select([0])
        end = len(tokens) - 1 if self._fold else len(tokens)
        with fast_float32():
            self._look(tokens[None, :end], local[:end], rows, images, memory)
        return memory, tokens[-1] if self._fold else None
