from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from db1_model.checkpoint import import_db1_weights, name_db1_weight
from db1_model.config import ModelConfig
from db1_model.images import cut_patches
from db1_model.transformer import DB1

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="needs the published model's outputs in ../shared/golden")


@pytest.fixture(params=["tiny_post", "tiny_pre"])
def folder(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / request.param


@pytest.fixture
def model(folder: Path) -> DB1:
    weights = dict(np.load(folder / "weights.npz"))
    return import_db1_weights(weights, read_config(folder)).eval()


@pytest.fixture
def case(folder: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in np.load(folder / "cases.npz").items()}


def read_config(folder: Path) -> ModelConfig:
    theirs: dict[str, Any] = json.loads((folder / "config.json").read_text())
    same = ("num_layers", "num_heads", "context_length", "memory_length", "text_vocab_size", "num_discrete", "num_bins")
    sizes = {name: theirs[name] for name in same}
    sizes |= {"width": theirs["embed_dim"], "ffn_width": theirs["ffn_dim"], "norm": theirs["norm"]}
    return ModelConfig(**sizes, pixels="standardised", memory="zeros", bin_edge="lower")


def assert_logits(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_control_gives_db1s_logits_loss_and_gradients(model: DB1, case: dict[str, Tensor]) -> None:
    batch = {name: case[f"rl_{name}"] for name in ("tokens", "positions", "loss_mask", "labels")}

    loss = model.masked_loss(batch)
    loss.backward()

    assert_logits(model.logits(model(batch["tokens"], batch["positions"])), case["rl_logits"])
    assert abs(loss.item() - case["rl_loss"].item()) < 1e-5
    shared = {"r_w_bias": model.content_bias, "r_r_bias": model.position_bias}
    for name in (name.removeprefix("rl_grad.") for name in case if name.startswith("rl_grad.")):
        parameter = shared[name] if name in shared else model.get_parameter(name_db1_weight(name))
        expected = case[f"rl_grad.{name}"]
        assert parameter.grad is not None
        torch.testing.assert_close(
            parameter.grad.reshape(expected.shape), expected, atol=1e-4 * float(expected.abs().max()), rtol=0
        )


@torch.no_grad()
def test_pixels_text_and_captions_give_db1s_logits(model: DB1, case: dict[str, Tensor]) -> None:
    pixels = model(
        case["pixels_tokens"],
        case["pixels_positions"],
        patches=cut_patches(case["pixels_images"].flatten(0, 1), model.config),
    )
    image = torch.full((2, 6), -1)
    caption = model(
        torch.cat([case["caption_prompt"], image, case["caption_text"]], dim=1),
        patches=cut_patches(case["caption_images"], model.config),
    )

    assert_logits(model.logits(pixels), case["pixels_logits"])
    assert_logits(model.logits(model(case["text_tokens"])), case["text_logits"])
    assert_logits(model.logits(caption), case["caption_logits"])


@torch.no_grad()
def test_streaming_gives_db1s_logits_of_every_segment(model: DB1, case: dict[str, Tensor]) -> None:
    memory = model.make_memory(2)
    lengths = case["stream_lengths"].tolist()
    segments = zip(case["stream_tokens"].split(lengths, 1), case["stream_positions"].split(lengths, 1), strict=True)

    hidden = torch.cat([model.step(tokens, positions, memory) for tokens, positions in segments], dim=1)

    assert_logits(model.logits(hidden), case["stream_logits"])
