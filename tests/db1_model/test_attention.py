from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from db1_model import query_blocks
from db1_model.attention import choose_kernel, sinusoids_of
from db1_model.fused_attention import attend_by_flex, attend_by_sdpa
from db1_model.query_blocks import attend_in_blocks
from db1_model.rotary import rotate, rotations_of

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def attend_as_defined(query_key_value: Tensor, r: Tensor, content_bias: Tensor, position_bias: Tensor) -> Tensor:
    q, k, v = query_key_value.permute(2, 0, 3, 1, 4)
    length, d = q.shape[-2:]
    distance = torch.arange(length)[:, None] - torch.arange(length)
    r_of_pair = r[:, (length - 1 - distance).clamp(max=length)]  # (heads, query, key, d)
    scores = torch.einsum("bhqd,bhkd->bhqk", q + content_bias[:, None], k)
    scores = scores + torch.einsum("bhqd,hqkd->bhqk", q + position_bias[:, None], r_of_pair)
    weights = (scores * d**-0.5).masked_fill(distance < 0, -torch.inf).softmax(-1)
    return torch.einsum("bhqk,bhkd->bqhd", weights, v).flatten(2)


def make_inputs(length: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    shapes = (2, length, 3, 2, 8), (2, length + 1, 8), (2, 8), (2, 8)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("length", [1, 7, 300])
@pytest.mark.parametrize(
    "attend, kept_bytes, scores",
    [
        (attend_in_blocks, 0, 2**20),
        (attend_in_blocks, 0, 1),
        (attend_in_blocks, 2**30, 2**20),
        (attend_in_blocks, 2**30, 128 * 300 * 3),
        (attend_by_sdpa, 0, 0),
    ],
)
def test_attention_in_blocks_is_the_definition_with_its_gradient(
    length: int, attend: Attend, kept_bytes: int, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_blocks, "KEPT_PROBABILITY_BYTES", kept_bytes)
    monkeypatch.setattr(query_blocks, "BLOCK_SCORES", scores)
    inputs = make_inputs(length)
    towards = torch.randn(2, length, 16)

    actual, expected = attend(*inputs), attend_as_defined(*inputs)

    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(actual, inputs, towards), torch.autograd.grad(expected, inputs, towards), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("attend", [attend_in_blocks, attend_by_sdpa, attend_by_flex])
def test_attention_on_a_gpu_in_bfloat16_is_the_definition_with_its_gradient(attend: Attend) -> None:
    inputs = [x.detach().cuda().bfloat16().requires_grad_() for x in make_inputs(256)]
    exact = [x.detach().float().requires_grad_() for x in inputs]
    towards = torch.randn(2, 256, 16, device="cuda")

    actual, expected = attend(*inputs), attend_as_defined(*exact)

    torch.testing.assert_close(actual.float(), expected, atol=3e-2, rtol=3e-2)
    for found, wanted in zip(
        torch.autograd.grad(actual.float(), inputs, towards), torch.autograd.grad(expected, exact, towards), strict=True
    ):
        assert (found.float() - wanted).norm() < 0.02 * wanted.norm()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_is_the_definition() -> None:
    inputs = [x.detach() for x in make_inputs(200)]

    torch.testing.assert_close(attend_by_flex(*inputs), attend_as_defined(*inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [9, 300])
def test_half_precision_scores_far_beyond_its_range_give_finite_attention_and_gradient(length: int) -> None:
    inputs = [(300 * x.detach()).half().requires_grad_() for x in make_inputs(length)]
    largest = (inputs[0][:, :, 0].float() @ inputs[0][:, :, 1].float().transpose(-1, -2)).abs().max()

    attended = attend_in_blocks(*inputs)
    gradients = torch.autograd.grad(attended.float().mean(), inputs)

    assert largest * 8**-0.5 > torch.finfo(torch.float16).max
    assert attended.abs().max() <= inputs[0][:, :, 2].abs().max()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_kernel_that_cannot_compute_an_input_is_refused() -> None:
    half = torch.zeros(1, 2, 3, 1, 4, dtype=torch.float16)

    assert choose_kernel("auto", half) == "blocks"
    with pytest.raises(ValueError, match="expected one of auto, blocks, sdpa, flex"):
        choose_kernel("flash", half)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="float16, whose scores it may overflow"):
        choose_kernel("sdpa", half)
    with pytest.raises(ValueError, match="no gradient on a CPU"):
        choose_kernel("flex", half.float().requires_grad_())


def test_sinusoids_are_sines_then_cosines() -> None:
    expected = [[0.0, 0.0, 1.0, 1.0], [math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]]

    torch.testing.assert_close(sinusoids_of(torch.tensor([0, 3]), 4), torch.tensor(expected))


@pytest.mark.parametrize("shift", [0, 5, 10_000_000])
def test_products_of_rotated_vectors_depend_on_their_distance_alone(shift: int) -> None:
    q, k = torch.randn(2, 8).double()
    positions = torch.tensor([17, 4])
    expected = rotate(torch.stack([q, k]), rotations_of(positions, 8).double())

    actual = rotate(torch.stack([q, k]), rotations_of(positions + shift, 8).double())

    torch.testing.assert_close(actual[0] @ actual[1], expected[0] @ expected[1], atol=1e-5, rtol=1e-5)
    assert (actual[0] @ actual[1] - q @ k).abs() > 1e-3


def test_the_gradient_of_a_rotation_is_right() -> None:
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    rotations = rotations_of(torch.arange(3), 4).double()[:, None]

    assert torch.autograd.gradcheck(lambda y: rotate(y, rotations), (x,))
