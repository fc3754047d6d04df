from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_streaming_in_uneven_steps_equals_one_causal_pass(norm: str) -> None:
    model = DB1(replace(TINY, norm=norm, untie_relative_bias=True)).eval()
    tokens, positions = torch.randint(0, 50, (3, 40)), torch.randint(0, 9, (3, 40))
    memory = model.make_memory(3)

    steps = zip(tokens.split([1, 7, 1, 1, 20, 10], 1), positions.split([1, 7, 1, 1, 20, 10], 1), strict=True)
    streamed = torch.cat([model.step(*step, memory) for step in steps], dim=1)

    torch.testing.assert_close(streamed, model(tokens, positions).detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["masked", "zeros"])
@pytest.mark.parametrize("prompted", [False, True])
def test_slots_that_begin_and_pause_at_different_times_are_as_if_each_were_alone(kind: str, prompted: bool) -> None:
    torch.manual_seed(0)
    model = DB1(replace(TINY, memory_length=12, memory=kind)).eval()
    prompt = None
    if prompted:
        prompt = model.make_memory(1)
        model.step(torch.randint(0, 50, (1, 20)), None, prompt)
    together, alone = model.make_memory(5), [model.make_memory(1) for _ in range(5)]
    generator = np.random.default_rng(0)
    together.reset(range(5), prompt)
    for memory in alone:
        memory.reset([0], prompt)

    for _ in range(60):
        slots = generator.permutation(5)[: generator.integers(1, 6)].tolist()
        if generator.random() < 0.3:
            together.reset(slots[:1], prompt)
            alone[slots[0]].reset([0], prompt)
        tokens = torch.from_numpy(generator.integers(0, 50, (len(slots), generator.integers(1, 5))))
        together.select(slots)
        hidden = model.step(tokens, None, together)
        expected = torch.cat(
            [model.step(row[None], None, alone[slot]) for row, slot in zip(tokens, slots, strict=True)]
        )
        torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-4)


def test_a_skipped_column_is_seen_by_no_later_position() -> None:
    model = DB1(TINY).eval()
    tokens = torch.randint(0, 50, (2, 6))
    memory = model.make_memory(2)
    memory.skip([1])

    hidden = model.step(tokens, None, memory)

    torch.testing.assert_close(hidden[0], model(tokens[:1]).detach()[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(hidden[1, 1:], model(tokens[1:, 1:]).detach()[0], atol=1e-5, rtol=1e-4)
    assert hidden.isfinite().all()


def test_a_slot_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="expected different ones"):
        DB1(TINY).make_memory(3).select([1, 1])
