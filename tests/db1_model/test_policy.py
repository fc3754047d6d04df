from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from db1_model.config import ModelConfig
from db1_model.images import Patches
from db1_model.policy import DB1Policy, Prompt
from db1_model.positions import StepPositions
from db1_model.sequence import StepLayout, decode_action_tokens, encode_observations
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Schema

MakePolicy = Callable[..., DB1Policy]


@pytest.fixture
def make_policy(
    config: ModelConfig, schemas: dict[str, Schema], tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> MakePolicy:
    def make(kind: str, **options: Any) -> DB1Policy:
        torch.manual_seed(0)
        memory: Literal["masked", "zeros"] = options.pop("memory", "masked")
        model = DB1(replace(config, context_length=200, memory_length=200, memory=memory))
        with torch.no_grad():
            for parameter in model.parameters():  # large weights, so that actions depend on what was seen
                parameter.add_(0.3 * torch.randn_like(parameter))
        return DB1Policy(model, StepLayout.from_schema(schemas[kind], vocabulary), vocabulary, tokenizer, **options)

    return make


class PlainLoop:
    """Acts in one environment with a whole causal pass for every token of an action."""

    def __init__(self, policy: DB1Policy, prompt: Prompt | None = None) -> None:
        self.policy, self.prompt = policy, prompt
        self.rows: list[NDArray[np.uint16]] = []
        self.images: list[NDArray[np.uint8]] = []

    def reset(self) -> None:
        self.rows, self.images = ([], []) if self.prompt is None else (list(self.prompt[0]), list(self.prompt[1] or []))

    @torch.no_grad()
    def act(self, observation: dict[str, Any], mask: NDArray[np.bool_] | None) -> Any:
        layout, vocabulary = self.policy.layout, self.policy.vocabulary
        batch = {key: np.array([value]) for key, value in observation.items()}
        row, images = encode_observations(batch, layout, self.policy.tokenizer, vocabulary)
        if images is not None:
            self.images.append(images[0])
        action: list[int] = []
        while len(action) < layout.action_tokens:
            logits = self._logits([*self.rows, np.append(row[0], action)])
            legal = np.zeros(len(logits), bool)
            if layout.action_kind == "continuous":
                legal[vocabulary.bin_start : vocabulary.separator] = True
            else:
                legal[: layout.num_actions] = True if mask is None else mask
            action.append(int(np.where(legal, logits, -np.inf).argmax()))
        self.rows.append(np.append(row[0], action).astype(np.uint16))
        return decode_action_tokens(np.array([action]), layout, vocabulary)[0]

    def _logits(self, rows: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        model = self.policy.model
        places = StepPositions(self.policy.layout, model.config)
        tokens = np.concatenate([places.place_tokens(row[None].astype(np.uint16))[0] for row in rows])
        positions = np.concatenate([places.local_positions for _ in rows])[: len(tokens)]
        numbers = np.concatenate([places.place_numbers(row[None].astype(np.uint16)) for row in rows])
        patches = Patches(*map(torch.from_numpy, places.place_patches(np.stack(self.images)))) if self.images else None
        hidden = model(
            torch.from_numpy(tokens)[None],
            torch.from_numpy(positions)[None],
            numbers=torch.from_numpy(numbers) if len(numbers) else None,
            patches=patches,
        )
        return model.logits(hidden[0, -1]).numpy()


def play(policy: DB1Policy, episode: Episode, prompt: Prompt | None = None) -> tuple[list[list[Any]], list[list[Any]]]:
    """Act in three slots, of which one pauses and one begins anew, and in plain loops beside them."""
    generator = np.random.default_rng(0)
    loops = [PlainLoop(policy, prompt) for _ in range(3)]
    for loop in loops:
        loop.reset()
    found, expected = [], []
    for step in range(8):
        if step in (3, 5):
            policy.reset([step - 3])
            loops[step - 3].reset()
        slots = [2, 0] if step == 4 else [0, 1, 2]
        observations = [
            {key: values[(3 * step + slot) % len(episode)] for key, values in episode.observations.items()}
            for slot in slots
        ]
        masks: list[NDArray[np.bool_] | None] = [None] * len(slots)
        if policy.layout.action_kind == "discrete":
            masks[0] = generator.permutation(policy.layout.num_actions) < 2
        found.append(policy.act(slots, observations, masks))
        seen = zip(slots, observations, masks, strict=True)
        expected.append([loops[slot].act(observation, mask) for slot, observation, mask in seen])
    return found, expected


@pytest.mark.parametrize("kind", ["vector", "mixed", "image"])
def test_many_slots_with_a_memory_act_as_the_plain_loop_does(
    kind: str, make_policy: MakePolicy, make_episode: Callable[..., Episode]
) -> None:
    found, expected = play(make_policy(kind, num_slots=3), make_episode(kind, 40, seed=0))

    for actions, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(actions, wanted)
    assert len({str(action) for actions in found for action in actions}) > 2


def test_a_prompt_comes_before_every_episode(
    make_policy: MakePolicy, make_task: Callable[..., Any], make_episode: Callable[..., Episode]
) -> None:
    prompt = make_task("mixed", [4]).episode(0).tokens, None

    found, expected = play(make_policy("mixed", num_slots=3, prompt=prompt), make_episode("mixed", 40, seed=0), prompt)

    assert found == expected


def test_memories_of_zeros_change_what_is_done_but_not_its_legality(
    make_policy: MakePolicy, make_episode: Callable[..., Episode]
) -> None:
    policy = make_policy("mixed", num_slots=3, memory="zeros", temperature=1.0, seed=3)

    found, expected = play(policy, make_episode("mixed", 40, seed=0))

    assert found != expected
    assert all(0 <= action < policy.layout.num_actions for actions in found for action in actions)


def test_a_mask_without_a_legal_action_and_another_vocabulary_are_refused(
    make_policy: MakePolicy, make_episode: Callable[..., Episode], tokenizer: TextTokenizer
) -> None:
    policy = make_policy("mixed", num_slots=2)
    observation = {key: values[0] for key, values in make_episode("mixed", 2, seed=0).observations.items()}

    with pytest.raises(ValueError, match="mask of slot 1 allows no action"):
        policy.act([0, 1], [observation] * 2, [None, np.zeros(7, bool)])
    with pytest.raises(ValueError, match="one tokenizer and preset"):
        DB1Policy(policy.model, policy.layout, Vocabulary(1024, tokenizer_digest="other"), tokenizer, num_slots=1)
