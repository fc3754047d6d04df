from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from db1_model.config import ModelConfig
from db1_model.transformer import DB1

TINY = ModelConfig(
    num_layers=2,
    width=32,
    num_heads=2,
    context_length=40,
    memory_length=40,
    text_vocab_size=50,
    num_discrete=20,
    num_bins=32,
    dropout=0.0,
    patch_channels=8,
)


def draw(generator: np.random.Generator, count: int) -> Tensor:
    return torch.from_numpy(generator.integers(0, 50, count))


@pytest.mark.parametrize("norm", ["post", "pre", "deep"])
@pytest.mark.parametrize("position", ["relative", "rope"])
def test_streaming_in_ragged_steps_equals_one_causal_pass_a_row(norm: str, position: str) -> None:
    model = DB1(replace(TINY, norm=norm, position=position, untie_relative_bias=True)).eval()
    tokens, positions = torch.randint(0, 50, (3, 40)), torch.randint(0, 9, (3, 40))
    memory = model.make_memory(3)

    streamed: list[list[Tensor]] = [[], [], []]
    steps = torch.tensor([[1, 30, 2], [7, 1, 1], [1, 1, 1], [11, 5, 0], [19, 2, 0], [1, 1, 36]])  # sum to 40 a row
    for counts, ends in zip(steps, steps.cumsum(0), strict=True):
        chosen = [slice(int(end - count), int(end)) for count, end in zip(counts, ends, strict=True)]
        joined = [torch.cat([x[row, part] for row, part in enumerate(chosen)]) for x in (tokens, positions)]
        hidden = model.step(joined[0], joined[1], memory, lengths=counts.tolist())
        for row, part in zip(streamed, hidden.split(counts.tolist()), strict=True):
            row.append(part)

    found = torch.stack([torch.cat(row) for row in streamed])
    torch.testing.assert_close(found, model(tokens, positions).detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["masked", "zeros"])
@pytest.mark.parametrize("prompted", [False, True])
@pytest.mark.parametrize("position", ["relative", "rope"])
def test_slots_that_begin_and_pause_at_different_times_are_as_if_each_were_alone(
    kind: str, prompted: bool, position: str
) -> None:
    torch.manual_seed(0)
    model = DB1(replace(TINY, memory_length=12, memory=kind, position=position)).eval()
    prompt = None
    if prompted:
        prompt = model.make_memory(1)
        model.step(torch.randint(0, 50, (1, 80)), None, prompt)
    together, alone = model.make_memory(5), [model.make_memory(1) for _ in range(5)]
    generator = np.random.default_rng(0)
    together.reset(range(5), prompt)
    for memory in alone:
        memory.reset([0], prompt)

    for step in range(120):  # each slot's ring of 64 columns turns at least once
        slots = generator.permutation(5)[: generator.integers(1, 6)].tolist()
        if generator.random() < 0.3:
            together.reset([4], prompt)
            alone[4].reset([0], prompt)
        lengths = generator.integers(1, 5, len(slots)).tolist()
        tokens = [draw(generator, length) for length in lengths]
        together.select(slots)
        hidden = model.step(torch.cat(tokens), None, together, lengths=lengths, last_only=step % 2 == 1)
        expected = [model.step(row[None], None, alone[slot])[0] for row, slot in zip(tokens, slots, strict=True)]
        expected = torch.stack([row[-1] for row in expected]) if step % 2 else torch.cat(expected)
        torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-4)


def test_a_long_past_is_seen_as_far_as_the_memory_reaches() -> None:
    model = DB1(replace(TINY, num_layers=1, memory_length=12)).eval()
    tokens = torch.randint(0, 50, (1, 150))

    streamed = model.step(tokens, None, model.make_memory(1))

    for end in (1, 12, 13, 64, 65, 128, 150):
        expected = model(tokens[:, max(end - 12, 0) : end])[:, -1].detach()
        torch.testing.assert_close(streamed[:, end - 1], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("position", ["relative", "rope"])
def test_half_precision_stays_finite_where_its_scores_would_overflow(position: str) -> None:
    torch.manual_seed(0)
    model = DB1(replace(TINY, position=position)).half().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("query_key_value.weight"):
                weight[:64] *= 5000  # queries and keys
    memory = model.make_memory(2)

    hidden = model.step(torch.randint(0, 50, (2, 20)), None, memory)

    assert memory.keys[1].float().abs().amax() ** 2 > torch.finfo(torch.float16).max
    assert hidden.isfinite().all()


def test_a_slot_given_twice_and_too_long_a_step_are_refused() -> None:
    memory = DB1(TINY).make_memory(3)

    with pytest.raises(ValueError, match="expected different ones"):
        memory.select([1, 1])
    with pytest.raises(ValueError, match=f"expected at most {memory.longest_step}"):
        memory.begin_step([1, memory.longest_step + 1])
