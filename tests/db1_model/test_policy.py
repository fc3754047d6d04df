from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from db1_model.config import ModelConfig
from db1_model.images import Patches
from db1_model.layout import StepLayout
from db1_model.policy import DB1Policy, Prompt
from db1_model.positions import NUMBERS, PATCH, StepPositions
from db1_model.sequence import decode_action_tokens, encode_observations
from db1_model.text import TextTokenizer
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Schema

MakePolicy = Callable[..., DB1Policy]
NOTHING = 1000
"""A token of which nothing makes use; its embedding is zero in these tests."""


@pytest.fixture
def make_policy(
    config: ModelConfig, schemas: dict[str, Schema], tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> MakePolicy:
    def make(kinds: Sequence[str], *, memory: Any = "masked", position: Any = "relative", **options: Any) -> DB1Policy:
        torch.manual_seed(0)
        model = DB1(replace(config, memory=memory, position=position))
        with torch.no_grad():
            for parameter in model.parameters():  # large weights, so that actions depend on what was seen
                parameter.add_(0.3 * torch.randn_like(parameter))
            model.embedding.token_embedding.weight[NOTHING] = 0
        layouts = [StepLayout.from_schema(schemas[kind], vocabulary) for kind in kinds]
        return DB1Policy(model, layouts, vocabulary, tokenizer, **options)

    return make


class PlainLoop:
    """Acts in one environment, with a whole pass over the last positions for every token; exact for one layer."""

    def __init__(self, policy: DB1Policy, slot: int, prompt: Prompt | None = None) -> None:
        self.model, self.layout, self.vocabulary = policy.model, policy.layouts[slot], policy.vocabulary
        self.tokenizer = policy.tokenizer
        self.places = StepPositions(self.layout, self.model.config)
        self.prompt = prompt
        self.few = policy.model.config.memory == "masked" and self.places.steps_before < 8
        self.reset()

    def reset(self) -> None:
        self.steps: list[Any] = []
        self.begin()
        if self.prompt is not None:
            rows, images = self.prompt
            for index, row in enumerate(rows):
                self.steps.append((row[None], None if images is None else images[index : index + 1]))
                self.see(*self.steps[-1])

    def begin(self) -> None:
        zeros = self.model.config.memory_length if self.model.config.memory == "zeros" else 0
        self.tokens, self.positions = [NOTHING] * zeros, [-1] * zeros
        self.numbers: list[Any] = []
        self.patches: list[tuple[Any, ...]] = []

    def see(self, row: NDArray[np.uint16], images: NDArray[np.uint8] | None) -> None:
        placed = self.places.place_tokens(row)[0].tolist()
        self.tokens += placed
        self.positions += self.places.local_positions[: len(placed)].tolist()
        self.numbers += list(self.places.place_numbers(row))
        self.patches += list(zip(*self.places.place_patches(images), strict=True))

    def act(self, observation: dict[str, Any], mask: NDArray[np.bool_] | None) -> Any:
        batch = {key: np.array([value]) for key, value in observation.items()}
        if self.few:  # as many steps as a training sequence holds
            self.begin()
            for step in self.steps[len(self.steps) - min(len(self.steps), self.places.steps_before) :]:
                self.see(*step)
        row, images = encode_observations(batch, self.layout, self.tokenizer, self.vocabulary)
        self.see(row, images)
        action: list[int] = []
        while len(action) < self.layout.action_tokens:
            logits = self.logits()
            legal = np.zeros(len(logits), bool)
            if self.layout.action_kind == "text":
                legal[: self.tokenizer.size if not action or action[-1] else 1] = True
            elif self.layout.action_kind == "continuous":
                legal[self.vocabulary.bin_start : self.vocabulary.separator] = True
            else:
                legal[: self.layout.num_actions] = True if mask is None else mask
            action.append(int(np.where(legal, logits, -np.inf).argmax()))
            self.tokens.append(action[-1])
            self.positions.append(0)
        self.steps.append((np.append(row, np.array([action], np.uint16), 1), images))
        return decode_action_tokens(np.array([action]), self.layout, self.tokenizer, self.vocabulary)[0]

    @torch.no_grad()
    def logits(self) -> NDArray[np.float32]:
        seen = slice(-self.model.config.memory_length, None)
        tokens, positions = self.tokens[seen], self.positions[seen]
        num_patches, num_runs = tokens.count(PATCH), tokens.count(NUMBERS)
        patches = zip(*self.patches[len(self.patches) - num_patches :], strict=True)
        numbers = self.numbers[len(self.numbers) - num_runs :]
        hidden = self.model(
            torch.tensor([tokens]),
            torch.tensor([positions]),
            numbers=torch.from_numpy(np.stack(numbers)) if numbers else None,
            patches=Patches(*(torch.from_numpy(np.stack(part)) for part in patches)) if num_patches else None,
        )
        return self.model.logits(hidden[0, -1]).numpy()


def play(
    policy: DB1Policy, others: Sequence[tuple[Any, int]], episodes: Sequence[Episode], num_steps: int
) -> tuple[list[Any], list[Any]]:
    """Act in all slots, some of which pause or begin anew, and alone beside them: loops, or a policy and its slot."""
    generator = np.random.default_rng(0)
    found, expected = [], []
    for step in range(num_steps):
        slots = generator.permutation(len(episodes)).tolist()
        if step % 7 == 4:
            slots = slots[1:]
        if step in (3, 11):
            policy.reset(slots[:1])
            other, slot = others[slots[0]]
            other.reset(*([[slot]] if isinstance(other, DB1Policy) else []))
        observations = [
            {
                key: values[(3 * step + slot) % len(episodes[slot])]
                for key, values in episodes[slot].observations.items()
            }
            for slot in slots
        ]
        masks: list[NDArray[np.bool_] | None] = [None] * len(slots)
        for place, slot in enumerate(slots):
            if policy.layouts[slot].action_kind == "discrete" and generator.random() < 0.5:
                masks[place] = generator.permutation(policy.layouts[slot].num_actions) < 2
        found += policy.act(slots, observations, masks)
        for slot, observation, mask in zip(slots, observations, masks, strict=True):
            other, row = others[slot]
            is_policy = isinstance(other, DB1Policy)
            expected.append(other.act([row], [observation], [mask])[0] if is_policy else other.act(observation, mask))
    return found, expected


def assert_equal_actions(found: list[Any], expected: list[Any]) -> None:
    for action, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(action, wanted)
    assert len({str(action) for action in found}) > 4


KINDS = ["mixed", "vector", "image", "answer", "mixed", "vector", "answer"]


@pytest.mark.parametrize("position", ["relative", "rope"])
@pytest.mark.parametrize("memory", ["masked", "zeros"])
def test_slots_of_several_tasks_act_as_the_plain_loop_does(
    memory: str,
    position: str,
    make_policy: MakePolicy,
    make_episode: Callable[..., Episode],
    make_task: Callable[..., Any],
) -> None:
    episodes = [make_episode(kind, 40, seed=slot) for slot, kind in enumerate(KINDS)]
    prompt = make_task("mixed", [4]).episode(0).tokens, None
    pictures = make_task("image", [3]).episode(0)
    prompts: list[Prompt | None] = [prompt, None, (pictures.tokens, pictures.images), None, None, None, None]
    policy = make_policy(KINDS, memory=memory, position=position, prompts=prompts)
    loops = [(PlainLoop(policy, slot, one), 0) for slot, one in enumerate(prompts)]

    assert_equal_actions(*play(policy, loops, episodes, 24))


def test_slots_of_several_tasks_act_as_a_policy_for_each_slot_does(
    make_policy: MakePolicy, make_episode: Callable[..., Episode], make_task: Callable[..., Any]
) -> None:
    episodes = [make_episode(kind, 40, seed=slot) for slot, kind in enumerate(KINDS)]
    prompt = make_task("mixed", [4]).episode(0).tokens, None
    prompts = [prompt, None, None, None, prompt, None, None]
    alone = [(make_policy([kind], prompts=[one]), 0) for kind, one in zip(KINDS, prompts, strict=True)]

    assert_equal_actions(*play(make_policy(KINDS, prompts=prompts), alone, episodes, 60))


def test_drawn_actions_are_legal_and_a_function_of_the_seed(
    make_policy: MakePolicy, make_episode: Callable[..., Episode]
) -> None:
    observation = {key: values[0] for key, values in make_episode("mixed", 2, seed=0).observations.items()}
    mask = np.arange(7) % 2 == 0

    def draw(seed: int) -> list[Any]:
        policy = make_policy(["mixed"] * 3, temperature=3.0, seed=seed)
        return [policy.act([0, 1, 2], [observation] * 3, [mask] * 3) for _ in range(8)]

    first, again, other = draw(0), draw(0), draw(1)

    assert first == again != other
    assert {action for actions in first for action in actions} <= {0, 2, 4, 6}


def test_what_does_not_fit_together_is_refused(
    make_policy: MakePolicy, make_episode: Callable[..., Episode], tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> None:
    policy = make_policy(["mixed", "mixed"])
    observation = {key: values[0] for key, values in make_episode("mixed", 2, seed=0).observations.items()}

    with pytest.raises(ValueError, match="mask of slot 1 allows no action"):
        policy.act([0, 1], [observation] * 2, [None, np.zeros(7, bool)])
    with pytest.raises(ValueError, match="expected different ones"):
        policy.act([0, 2], [observation] * 2, [None, None])
    with pytest.raises(ValueError, match="one tokenizer and preset"):
        DB1Policy(policy.model, policy.layouts, Vocabulary(1024, tokenizer_digest="other"), tokenizer)
    with pytest.raises(ValueError, match="1 prompts for 2 slots"):
        DB1Policy(policy.model, policy.layouts, vocabulary, tokenizer, prompts=[None])
