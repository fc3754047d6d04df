from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.choices import Choice, Mask, choose_tokens, find_choices
from db1_model.images import Patches
from db1_model.inputs import CachedTokenizer, Inputs
from db1_model.layout import StepLayout
from db1_model.memory import Memory
from db1_model.positions import StepPositions
from db1_model.precision import fast_float32
from db1_model.sequence import decode_action_tokens, encode_observations
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary

Prompt = tuple[NDArray[np.uint16], NDArray[np.uint8] | None]
"""Stored tokens of expert steps, shape (steps, tokens a step), and their images or None, as ``choose_prompt`` gives."""

_FEW_STEPS = 8  # of a context, below which a step reads the earlier ones anew

_Step = tuple[NDArray[np.uint16], NDArray[np.uint8] | None]
"""Stored tokens of a step, shape (tokens,), and its image or None."""


@dataclass(frozen=True)
class _Kind:
    """What slots of one task have in common.

    Args:
        layout: Their steps.
        places: The places of these.
        legal: The legal tokens of an action: the first, and the one after the last.
        is_read_anew: Whether each step reads the earlier ones anew, as many as a training sequence holds before it.
            Where these are few, positions that remember what is hidden by now are unlike any in training: of answers
            about pictures, which take a third of a sequence, most became wrong at the third step.
    """

    layout: StepLayout
    places: StepPositions
    legal: tuple[int, int]
    is_read_anew: bool


class DB1Policy:
    """Plays with a model in many environments at once, one slot each; the slots' tasks may differ.

    All observations and their separators are one pass, every further dimension of the actions is one more, for the
    slots whose action has it. An action's last token enters with the next observation. An episode's past is held as
    keys and values; where a context holds few steps, these are computed anew at each step. The chosen tokens leave the
    model's device once, when all actions are complete.

    Args:
        model: The model; it is put into evaluation mode.
        layouts: The steps of each slot's task.
        vocabulary: The vocabulary that the model was trained with.
        tokenizer: The text tokenizer of that vocabulary.
        prompts: Expert steps that the episodes of each slot begin with, or None; equal ones are computed once.
        temperature: 0 takes the likeliest action; above it, actions are drawn with logits over the temperature.
        seed: Seed of these draws.

    Attributes:
        tell: None, or what is given the tokens of each pass as soon as they are chosen, int64 of shape (rows,).

    Raises:
        ValueError: If layouts, vocabulary, model and prompts do not belong together, or a task's actions are documents.
    """

    def __init__(
        self,
        model: DB1,
        layouts: Sequence[StepLayout],
        vocabulary: Vocabulary,
        tokenizer: TextTokenizer,
        *,
        prompts: Sequence[Prompt | None] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        for layout in layouts:
            if layout.vocabulary_digest != vocabulary.digest:
                raise ValueError(
                    f"a task was tokenized with vocabulary {layout.vocabulary_digest[:12]}, the model was trained with "
                    f"{vocabulary.digest[:12]}; make tokens, shards and checkpoint with one tokenizer and preset"
                )
        if vocabulary.size != model.config.vocab_size:
            raise ValueError(f"a vocabulary of {vocabulary.size} tokens; the model has {model.config.vocab_size}")
        if prompts is not None and len(prompts) != len(layouts):
            raise ValueError(f"{len(prompts)} prompts for {len(layouts)} slots; expected as many")
        self.model = model.eval()
        self.layouts, self.vocabulary, self.tokenizer = list(layouts), vocabulary, CachedTokenizer(tokenizer)
        self.temperature = temperature
        self.tell: Callable[[NDArray[np.int64]], None] | None = None
        self._device = model.device
        self._generator = torch.Generator(self._device).manual_seed(seed)
        # tasks whose actions take most passes come first, so that the slots which still need one are the first rows
        kinds = [self._describe(layout) for layout in dict.fromkeys(layouts)]
        self._kinds = sorted(kinds, key=lambda kind: (-kind.layout.action_tokens, kind.legal))
        number = {kind.layout: number for number, kind in enumerate(self._kinds)}
        self._kind = [number[layout] for layout in layouts]  # of each slot
        self._memory = model.make_memory(len(layouts))
        self._writes = any(layout.action_kind == "text" for layout in layouts)
        shown = [
            (prompt, self._kinds[number].is_read_anew)
            for prompt, number in zip(prompts or [None] * len(layouts), self._kind, strict=True)
        ]
        self._prompts = self._remember([None if is_read_anew else prompt for prompt, is_read_anew in shown])
        self._prompted = [_split(prompt) if is_read_anew else [] for prompt, is_read_anew in shown]
        self._steps: list[list[_Step]] = [[] for _ in layouts]  # of slots that read anew
        # the token of each slot that the memory lacks; -1 at an episode's beginning
        self._pending = np.full(len(layouts), -1, np.int64)
        self.reset(range(len(layouts)))

    def reset(self, slots: Sequence[int]) -> None:
        """Forget what these slots saw: a new episode begins in each, after the prompt if there is one."""
        for slot in slots:
            prompt, self._pending[slot] = self._prompts[slot]
            self._memory.reset([slot], prompt)
            self._steps[slot] = list(self._prompted[slot])

    @torch.inference_mode()
    def act(self, slots: Sequence[int], observations: Sequence[Mapping[str, Any]], masks: Sequence[Mask]) -> list[Any]:
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
        self._memory.check(slots)
        order = sorted(range(len(slots)), key=lambda place: (self._kind[slots[place]], slots[place]))
        rows = [slots[place] for place in order]
        legal = [self._kinds[self._kind[slot]].legal for slot in rows]
        choices = find_choices(rows, legal, [masks[place] for place in order], self._device)
        inputs = self._encode(rows, [observations[place] for place in order])
        self._memory.select(rows)
        num_tokens = np.array([self.layouts[slot].action_tokens for slot in rows])
        chosen = np.zeros((len(rows), num_tokens.max()), np.int64)
        with fast_float32():
            tokens = [self._choose(self._look(inputs, self._memory), choices)]
            are_texts = self._find_texts(rows) if self._writes else None
            for place in range(1, num_tokens.max()):
                token = tokens[-1][: np.count_nonzero(num_tokens > place), None]
                hidden = self.model.step(token, torch.zeros_like(token), self._memory)
                tokens.append(self._choose(hidden[:, 0], choices))
                if are_texts is not None:  # nothing follows the end of a text
                    tokens[-1].masked_fill_(are_texts[: len(token)] & (token[:, 0] == 0), 0)
            found = torch.cat(tokens).cpu().numpy()
        chosen.T[np.arange(num_tokens.max())[:, None] < num_tokens] = found
        self._pending[rows] = chosen[np.arange(len(rows)), num_tokens - 1]
        self._keep(rows, chosen)
        return self._decode(chosen, order, rows)

    def _find_texts(self, rows: Sequence[int]) -> Tensor:
        """Return which rows' actions are text, bool of shape (rows,)."""
        are_texts = [self.layouts[slot].action_kind == "text" for slot in rows]
        return torch.tensor(are_texts, device=self._device)

    def _encode(self, rows: Sequence[int], observations: Sequence[Mapping[str, Any]]) -> Inputs:
        """Join the rows' last actions and new observations; those of a kind stand together."""
        parts = []
        for number, group in groupby(range(len(rows)), key=lambda row: self._kind[rows[row]]):
            kind, members = self._kinds[number], list(group)
            batch = {key: np.array([observations[row][key] for row in members]) for key in observations[members[0]]}
            stored, images = encode_observations(batch, kind.layout, self.tokenizer, self.vocabulary)
            if kind.is_read_anew:
                parts.append(self._read_anew(kind, [rows[row] for row in members], stored, images))
                continue
            pending = self._pending[[rows[row] for row in members]]
            placed = np.column_stack([pending, kind.places.place_tokens(stored)])
            kept = np.ones(placed.shape, bool)
            kept[:, 0] = pending >= 0
            local = np.broadcast_to(np.roll(kind.places.local_positions, 1)[: placed.shape[1]], placed.shape)
            parts.append(Inputs.of(kind.places, placed[kept], local[kept], kept.sum(1).tolist(), stored, images))
        return parts[0] if len(parts) == 1 else Inputs.join(parts)

    def _read_anew(
        self, kind: _Kind, slots: Sequence[int], stored: NDArray[np.uint16], images: NDArray[np.uint8] | None
    ) -> Inputs:
        """Join the earlier steps of slots, as many as fit, and their new observations; their memories are emptied."""
        self._memory.reset(slots)
        parts = []
        for number, slot in enumerate(slots):
            first = max(0, len(self._steps[slot]) - kind.places.steps_before)
            now = stored[number], None if images is None else images[number]
            steps = self._steps[slot] = [*self._steps[slot][first:], now]
            placed = [kind.places.place_tokens(row[None])[0] for row, _ in steps]
            local = np.tile(kind.places.local_positions, len(steps))[: sum(map(len, placed))]
            numbers = np.stack([row[: stored.shape[1]] for row, _ in steps])
            pictures = None if images is None else np.stack([image for _, image in steps if image is not None])
            tokens = np.concatenate(placed)
            parts.append(Inputs.of(kind.places, tokens, local, [len(tokens)], numbers, pictures))
        return parts[0] if len(parts) == 1 else Inputs.join(parts)

    def _keep(self, rows: Sequence[int], chosen: NDArray[np.int64]) -> None:
        """Complete the steps that will be read anew with the tokens of their actions."""
        for row, slot in enumerate(rows):
            kind = self._kinds[self._kind[slot]]
            if kind.is_read_anew:
                observed, image = self._steps[slot][-1]
                action = chosen[row, : kind.layout.action_tokens].astype(np.uint16)
                self._steps[slot][-1] = np.concatenate([observed, action]), image

    def _look(self, inputs: Inputs, memory: Memory) -> Tensor:
        """Hidden states after the last position of each row, shape (rows, width)."""
        tokens, local, numbers = (
            torch.from_numpy(values).to(self._device, non_blocking=True)
            for values in (inputs.tokens, inputs.positions, inputs.numbers)
        )
        patches = Patches(*(torch.from_numpy(values).to(self._device, non_blocking=True) for values in inputs.patches))
        return self.model.step(
            tokens, local, memory, lengths=inputs.lengths, last_only=True, numbers=numbers, patches=patches
        )

    def _choose(self, hidden: Tensor, choices: Sequence[Choice]) -> Tensor:
        """Choose a legal token for each of the first rows, int64 of shape (rows,), and tell of them."""
        found = choose_tokens(self.model, hidden, choices, temperature=self.temperature, generator=self._generator)
        if self.tell is not None:
            self.tell(found.cpu().numpy())
        return found

    def _decode(self, tokens: NDArray[np.int64], order: Sequence[int], rows: Sequence[int]) -> list[Any]:
        """Return the actions of tokens of shape (rows, dimensions), row i at the place ``order[i]``."""
        actions: list[Any] = [None] * len(rows)
        for number, group in groupby(range(len(rows)), key=lambda row: self._kind[rows[row]]):
            members, layout = list(group), self._kinds[number].layout
            legal = tokens[members, : layout.action_tokens]
            edge = self.model.config.bin_edge
            decoded = decode_action_tokens(legal, layout, self.tokenizer, self.vocabulary, edge=edge)
            for row, action in zip(members, decoded, strict=True):
                actions[order[row]] = action
        return actions

    def _remember(self, prompts: Sequence[Prompt | None]) -> list[tuple[Memory | None, int]]:
        """For each slot a memory of its prompt, of which the last token is left pending, and that token."""
        known: dict[Any, tuple[Memory | None, int]] = {None: (None, -1)}
        keys = []
        for number, prompt in zip(self._kind, prompts, strict=True):
            key = None if prompt is None else (number, *(None if part is None else part.tobytes() for part in prompt))
            keys.append(key)
            if prompt is None or key in known:
                continue
            places, (stored, images) = self._kinds[number].places, prompt
            placed = places.place_tokens(stored).flatten()
            local = np.tile(places.local_positions, len(stored))
            memory = self.model.make_memory(1)
            with fast_float32():
                self._look(Inputs.of(places, placed[:-1], local[:-1], [len(placed) - 1], stored, images), memory)
            known[key] = memory, int(placed[-1])
        return [known[key] for key in keys]

    def _describe(self, layout: StepLayout) -> _Kind:
        if layout.action_kind == "document":
            raise ValueError("documents are read and not played; continue one with: db1 write")
        places = StepPositions(layout, self.model.config)
        legal = 0, self.tokenizer.size if layout.action_kind == "text" else layout.num_actions
        if layout.action_kind == "continuous":
            legal = self.vocabulary.bin_start, self.vocabulary.separator
        is_read_anew = self.model.config.memory == "masked" and places.steps_before < _FEW_STEPS
        return _Kind(layout, places, legal, is_read_anew)


def _split(prompt: Prompt | None) -> list[_Step]:
    rows, images = prompt or ((), None)
    return [(row, None if images is None else images[step]) for step, row in enumerate(rows)]
