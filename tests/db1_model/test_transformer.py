from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from db1_model.config import ModelConfig
from db1_model.presets import PRESETS, get_preset
from db1_model.transformer import DB1, patches_of

TINY = ModelConfig(
    num_layers=2,
    width=32,
    num_heads=2,
    context_length=24,
    memory_length=24,
    text_vocab_size=50,
    num_discrete=20,
    num_bins=32,
    encoding="embedded",
    numbers_per_position=4,
    dropout=0.0,
    patch_channels=8,
)


def random_batch(config: ModelConfig, *, batch: int = 3, length: int = 20) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = batch, length
    tokens = torch.randint(0, config.vocab_size, shape, generator=generator)
    tokens[:, ::5] = -2
    tokens[:, 1::5] = -1
    places = tokens[:, ::5].numel()
    return {
        "tokens": tokens,
        "positions": torch.randint(-1, 8, shape, generator=generator),
        "loss_mask": torch.rand(shape, generator=generator) < 0.3,
        "labels": torch.randint(0, config.vocab_size, shape, generator=generator),
        "numbers": torch.randint(-1, config.vocab_size, (places, 4), generator=generator),
        "patches": torch.randint(0, 256, (places, 3, 16, 16), generator=generator, dtype=torch.uint8),
        "patch_rows": torch.tensor([[0, 64]]).expand(places, 2),
        "patch_columns": torch.tensor([[64, 128]]).expand(places, 2),
    }


@pytest.mark.parametrize(
    "preset, num_parameters",
    [
        ("db1-nano", 3_587_744),
        ("db1-small", 90_574_720),
        ("db1-medium", 388_746_880),
        ("db1-1.2b", 1_210_585_216),
        ("gato-1.2b", 1_210_585_216),
    ],
)
def test_a_preset_has_exactly_the_parameters_that_it_states(preset: str, num_parameters: int) -> None:
    with torch.device("meta"):
        model = DB1(get_preset(preset))

    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert f"{num_parameters:,}" in str(PRESETS[preset].__doc__)


@pytest.mark.parametrize("norm", ["post", "pre", "deep"])
@pytest.mark.parametrize("position", ["relative", "rope"])
@torch.no_grad()
def test_a_token_changed_in_the_future_leaves_earlier_hidden_states_equal(norm: str, position: str) -> None:
    model = DB1(replace(TINY, norm=norm, position=position)).eval()
    tokens = torch.randint(0, 50, (2, 20))
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 50

    before, after = model(tokens), model(changed)

    assert torch.equal(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().amax(dim=(0, 2)).min() > 1e-6


def test_the_head_at_masked_positions_gives_the_loss_and_gradient_of_the_head_everywhere() -> None:
    model = DB1(TINY).eval()
    batch = random_batch(TINY)
    weight = model.blocks[0].get_parameter("feed_forward.up.weight")

    model.masked_loss(batch).backward()
    assert weight.grad is not None
    masked_gradient, weight.grad = weight.grad, None
    full = torch.nn.functional.cross_entropy(
        model.logits(_hidden(model, batch)).flatten(0, 1), batch["labels"].flatten(), reduction="none"
    )
    everywhere = (full * batch["loss_mask"].flatten()).sum() / batch["loss_mask"].sum()
    everywhere.backward()

    torch.testing.assert_close(model.masked_loss(batch), everywhere)
    torch.testing.assert_close(masked_gradient, weight.grad)


def test_a_batch_without_any_loss_position_has_zero_loss_and_zero_gradient() -> None:
    model = DB1(TINY)
    batch = random_batch(TINY) | {"loss_mask": torch.zeros(3, 20, dtype=torch.bool)}

    loss = model.masked_loss(batch)
    loss.backward()

    assert loss.item() == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("position", ["relative", "rope"])
@pytest.mark.parametrize(
    "choice",
    [
        {"checkpoint_activations": True},
        {"attention": "sdpa"},
        pytest.param({"compile_blocks": True}, marks=pytest.mark.slow),
    ],
)
def test_no_choice_of_execution_changes_loss_or_gradient(position: str, choice: dict[str, Any]) -> None:
    model = DB1(replace(TINY, position=position, dropout=0.0 if "compile_blocks" in choice else 0.2))
    batch = random_batch(TINY)

    outcomes = []
    for chosen in ({}, choice):
        model.choose_execution(**chosen)
        model.zero_grad()
        torch.manual_seed(1)
        loss = model.masked_loss(batch)
        loss.backward()
        outcomes.append([loss.detach(), *(x.grad.clone() for x in model.parameters() if x.grad is not None)])

    for plain, chosen in zip(*outcomes, strict=True):
        torch.testing.assert_close(chosen, plain, atol=1e-5, rtol=1e-4)


def test_bfloat16_products_leave_loss_softmax_and_norms_in_float32() -> None:
    model, batch = DB1(replace(TINY, width=64)), random_batch(TINY)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, _ = model.masked_hidden(batch)
        loss = model.masked_loss(batch)
    loss.backward()

    assert (hidden.dtype, loss.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(loss, model.masked_loss(batch), atol=0.02, rtol=0.01)
    assert all(x.grad is None or x.grad.isfinite().all() for x in model.parameters())


def test_one_batch_is_overfitted_to_a_loss_near_zero() -> None:
    torch.manual_seed(0)
    model = DB1(replace(TINY, width=64))
    batch = random_batch(TINY)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.masked_loss(batch)
        loss.backward()
        optimizer.step()

    assert loss.item() < 0.05


def test_runs_of_numbers_that_do_not_fit_their_places_are_refused() -> None:
    batch = random_batch(TINY)

    with pytest.raises(ValueError, match="11 runs of numbers for 12 places of token -2"):
        DB1(TINY)(batch["tokens"], numbers=batch["numbers"][1:])


@torch.no_grad()
def test_neighbouring_bins_begin_alike_and_padding_counts_for_nothing() -> None:
    numbers = DB1(TINY).embedding.numbers
    assert numbers is not None
    near, far = numbers(torch.tensor([[60], [61], [75]])).diff(dim=0).norm(dim=1)

    assert near < far / 2
    torch.testing.assert_close(numbers(torch.tensor([[60, 3, -1, -1]])), numbers(torch.tensor([[60, 3]])))


def _hidden(model: DB1, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(batch["tokens"], batch["positions"], numbers=batch["numbers"], patches=patches_of(batch))


@torch.no_grad()
def test_short_and_long_runs_of_numbers_do_not_disturb_each_other() -> None:
    numbers = DB1(replace(TINY, numbers_per_position=20)).embedding.numbers
    assert numbers is not None
    runs = torch.randint(0, TINY.vocab_size, (6, 20))
    runs[::2, 3:] = -1

    together = numbers(runs)

    for run, embedded in zip(runs, together, strict=True):
        torch.testing.assert_close(numbers(run[None, run >= 0])[0], embedded)
