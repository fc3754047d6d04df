from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from db1_model.parity import check_parity

DrawWeights = Callable[..., dict[str, Tensor]]
OPTIONS: dict[str, dict[str, Any]] = {
    "deepnorm, biases of each layer, memory shorter than the context": {
        "num_layers": 3,
        "deepnorm": True,
        "untie_relative_bias": True,
        "memory_length": 13,
        "ffn_dim": 48,
    },
    "PreNorm, which ignores DeepNorm, memory longer than the context": {
        "norm": "pre",
        "deepnorm": True,
        "context_length": 17,
        "memory_length": 41,
        "patch_size": 4,
        "position_vocab": 100,
        "num_heads": 4,
        "embed_dim": 24,
    },
    "PreNorm, biases of each layer": {
        "norm": "pre",
        "untie_relative_bias": True,
        "num_bins": 30,
        "text_vocab_size": 90,
    },
    "PostNorm, shared biases": {"num_layers": 1, "num_heads": 1, "patch_channels": 64},
}


class NaiveDB1:
    """DB1 written plainly: whole matrices of scores, every distance's key looked up, hidden states as memory."""

    def __init__(self, weights: dict[str, Tensor], sizes: dict[str, Any]) -> None:
        self.weights, self.sizes = weights, sizes
        deep = sizes["deepnorm"] and sizes["norm"] == "post"
        self.alpha = (2 * sizes["num_layers"]) ** 0.25 if deep else 1.0

    def embed(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self.weights["word_embedding.weight"][tokens.clamp(min=0)] * (tokens >= 0)[..., None]
        return x if positions is None else x + self.weights["rl_local_timestep_embedding.weight"][positions]

    def embed_image(self, image: Tensor) -> Tensor:
        size, vocab = self.sizes["patch_size"], self.sizes["position_vocab"]
        rows, columns = image.shape[1] // size, image.shape[2] // size
        embedded = []
        for row in range(rows):
            for column in range(columns):
                patch = image[:, row * size : (row + 1) * size, column * size : (column + 1) * size]
                mean, deviation = patch.mean((1, 2), keepdim=True), patch.std((1, 2), keepdim=True)
                x = self._convolve(((patch - mean) / (1e-6 + deviation) / size**0.5)[None], "conv1", 1)
                y = self._convolve(F.gelu(self._normalise_groups(x, "residual_path.0")), "residual_path.2", 1)
                y = self._convolve(F.gelu(self._normalise_groups(y, "residual_path.3")), "residual_path.5", 1)
                x = self._convolve(x + y, "projection", 0).flatten()
                for name, part, parts in (("row", row, rows), ("col", column, columns)):
                    middle = (int(part / parts * vocab) + int((part + 1) / parts * vocab)) // 2
                    x = x + self.weights[f"vision_encoder.{name}_position_embeddings.weight"][middle]
                embedded.append(x)
        return torch.stack(embedded)

    def embed_step_with_images(self, tokens: Tensor, positions: Tensor, images: Tensor) -> Tensor:
        x = self.embed(tokens, positions)
        rows = []
        for row, its_tokens, its_images in zip(x, tokens, images, strict=True):
            places = (its_tokens == -1).nonzero().flatten()
            patches = torch.cat([self.embed_image(image) for image in its_images])[: len(places)]
            rows.append(row.index_add(0, places, patches))
        return torch.stack(rows)

    def decode(self, x: Tensor, memory: list[Tensor] | None = None) -> Tensor:
        """Hidden states of embeddings; a memory is brought up to date."""
        for layer in range(self.sizes["num_layers"]):
            before = x[:, :0] if memory is None else memory[layer]
            seen = torch.cat([before, x], 1)
            if memory is not None:
                memory[layer] = seen[:, -self.sizes["memory_length"] :]
            x = self._join(x, self._attend(seen, x.shape[1], layer, memory is not None), f"h.{layer}.dec_attn")
            x = self._join(x, self._feed_forward(x, layer), f"h.{layer}.pos_ff")
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.weights["word_embedding.weight"].T

    def _attend(self, seen: Tensor, queries: int, layer: int, has_memory: bool) -> Tensor:
        name, keys, width, heads = f"h.{layer}.dec_attn", seen.shape[1], seen.shape[2], self.sizes["num_heads"]
        joined = self._before(seen, name) @ self.weights[f"{name}.qkv_net.weight"].T
        q, k, v = (part.unflatten(-1, (heads, -1)) for part in joined.chunk(3, -1))
        q = q[:, -queries:]
        distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
        angles = distance.clamp(0, self.sizes["context_length"])[..., None] * self.weights["pos_emb.inv_freq"]
        r = torch.cat([angles.sin(), angles.cos()], -1) @ self.weights[f"{name}.r_net.weight"].T
        r = r.unflatten(-1, (heads, -1))  # (queries, keys, heads, d)
        content = torch.einsum("bihd,bjhd->bhij", q + self._bias(layer, "r_w_bias"), k)
        position = torch.einsum("bihd,ijhd->bhij", q + self._bias(layer, "r_r_bias"), r)
        hidden = distance < 0
        if has_memory:
            hidden = hidden | (distance >= self.sizes["memory_length"])
        scores = ((content + position) * (width // heads) ** -0.5).masked_fill(hidden, -torch.inf)
        attended = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2)
        return attended @ self.weights[f"{name}.o_net.weight"].T

    def _feed_forward(self, x: Tensor, layer: int) -> Tensor:
        name = f"h.{layer}.pos_ff"
        up, up_bias, down, down_bias = (
            self.weights[f"{name}.CoreNet.{part}"] for part in ("0.weight", "0.bias", "2.weight", "2.bias")
        )
        value, gate = (self._before(x, name) @ up.T + up_bias).chunk(2, -1)
        return (value * F.gelu(gate)) @ down.T + down_bias

    def _bias(self, layer: int, name: str) -> Tensor:
        return self.weights[f"h.{layer}.dec_attn.{name}" if self.sizes["untie_relative_bias"] else name]

    def _before(self, x: Tensor, name: str) -> Tensor:
        return self._normalise(x, name) if self.sizes["norm"] == "pre" else x

    def _join(self, x: Tensor, branch: Tensor, name: str) -> Tensor:
        return x + branch if self.sizes["norm"] == "pre" else self._normalise(self.alpha * x + branch, name)

    def _normalise(self, x: Tensor, name: str) -> Tensor:
        norm = f"{name}.layer_norm"
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{norm}.weight"], self.weights[f"{norm}.bias"])

    def _normalise_groups(self, x: Tensor, name: str) -> Tensor:
        return F.group_norm(x, 32, *self._vision(name))

    def _convolve(self, x: Tensor, name: str, padding: int) -> Tensor:
        return F.conv2d(x, *self._vision(name), padding=padding)

    def _vision(self, name: str) -> tuple[Tensor, Tensor]:
        prefix = f"vision_encoder.patch_embeddings.{name}"
        return self.weights[f"{prefix}.weight"], self.weights[f"{prefix}.bias"]


def compute_cases(model: NaiveDB1) -> dict[str, Tensor]:
    """Inputs of every kind, and what the plain model computes of them."""
    sizes = model.sizes
    generator = torch.Generator().manual_seed(1)
    length, size, batch = sizes["context_length"], sizes["patch_size"], 3
    vocab = len(model.weights["word_embedding.weight"])

    def draw(*shape: int, below: int = vocab) -> Tensor:
        return torch.randint(0, below, shape, generator=generator)

    def draw_images(*shape: int) -> Tensor:
        return 255 * torch.rand(shape, generator=generator)

    names = [name for name in model.weights if not name.startswith(("ic_encoder.", "pos_emb."))]
    for name in names:
        model.weights[name].requires_grad_()
    tokens, positions = draw(batch, length), draw(batch, length, below=sizes["local_positions"])
    labels, loss_mask = draw(batch, length), (draw(batch, length, below=3) == 0).float()
    case = {"rl_tokens": tokens, "rl_positions": positions, "rl_labels": labels, "rl_loss_mask": loss_mask}
    case["rl_logits"] = model.logits(model.decode(model.embed(tokens, positions)))
    each = F.cross_entropy(case["rl_logits"].flatten(0, 1), labels.flatten(), reduction="none")
    case["rl_loss"] = ((each * loss_mask.flatten()).sum() / loss_mask.sum()).reshape(1)
    gradients = torch.autograd.grad(
        case["rl_loss"], [model.weights[name] for name in names], allow_unused=True, materialize_grads=True
    )
    case |= {f"rl_grad.{name}": gradient for name, gradient in zip(names, gradients, strict=True)}

    seen = draw(2, length)
    seen[:, 1:5] = seen[:, 9:12] = -1  # the last image is cut: 7 of 8 patches
    case |= {"pixels_tokens": seen, "pixels_positions": draw(2, length, below=sizes["local_positions"])}
    case["pixels_images"] = draw_images(2, 2, 3, 2 * size, 2 * size)
    embedded = model.embed_step_with_images(seen, case["pixels_positions"], case["pixels_images"])
    case["pixels_logits"] = model.logits(model.decode(embedded))

    case["text_tokens"] = draw(1, length + 3, below=sizes["text_vocab_size"])
    case["text_logits"] = model.logits(model.decode(model.embed(case["text_tokens"])))

    case["caption_prompt"], case["caption_text"] = draw(2, 3), draw(2, 5)
    case["caption_images"] = draw_images(2, 3, 3 * size, size)
    image = torch.stack([model.embed_image(image) for image in case["caption_images"]])
    prompt, text = model.embed(case["caption_prompt"]), model.embed(case["caption_text"])
    case["caption_logits"] = model.logits(model.decode(torch.cat([prompt, image, text], 1)))

    case["stream_lengths"] = torch.tensor([5, 1, 1, sizes["memory_length"] + 2, 1, 9])
    total = int(case["stream_lengths"].sum())
    case |= {"stream_tokens": draw(2, total), "stream_positions": draw(2, total, below=sizes["local_positions"])}
    memory = [torch.zeros(2, sizes["memory_length"], sizes["embed_dim"])] * sizes["num_layers"]
    segments = model.embed(case["stream_tokens"], case["stream_positions"]).split(case["stream_lengths"].tolist(), 1)
    case["stream_logits"] = model.logits(torch.cat([model.decode(segment, memory) for segment in segments], 1))
    return case


def write_folder(folder: Path, sizes: dict[str, Any], weights: dict[str, Tensor], cases: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(sizes))
    for name, tensors in (("weights", weights), ("cases", cases)):
        arrays: dict[str, Any] = {key: value.detach().numpy() for key, value in tensors.items()}
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.fixture
def folder(tmp_path: Path, published_sizes: dict[str, Any], draw_published_weights: DrawWeights) -> Path:
    weights = draw_published_weights(published_sizes)
    return write_folder(tmp_path, published_sizes, weights, compute_cases(NaiveDB1(weights, published_sizes)))


def change(path: Path, **changes: Any) -> None:
    """Change arrays of a file; None takes one away."""
    arrays = dict(np.load(path)) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_other_sizes_and_options_give_what_a_plain_model_computes(
    options: dict[str, Any], tmp_path: Path, published_sizes: dict[str, Any], draw_published_weights: DrawWeights
) -> None:
    sizes = published_sizes | options
    weights = draw_published_weights(sizes)
    cases = compute_cases(NaiveDB1(weights, sizes))

    parity = check_parity(write_folder(tmp_path, sizes, weights, cases))

    results = {name for name in cases if name.endswith("_logits") or name.startswith(("rl_loss", "rl_grad."))}
    assert {difference.case for difference in parity.differences} == results - {"rl_loss_mask"}
    assert (parity.failed, parity.absent, parity.unknown) == ((), (), ())


@pytest.mark.parametrize("option", ["deepnorm", "untie_relative_bias", "norm"])
def test_a_model_with_another_option_fails(
    option: str, tmp_path: Path, published_sizes: dict[str, Any], draw_published_weights: DrawWeights
) -> None:
    other = {"deepnorm": True, "untie_relative_bias": True, "norm": "pre"}[option]
    weights = draw_published_weights(published_sizes)
    cases = compute_cases(NaiveDB1(weights, published_sizes))
    cases = {name: value for name, value in cases.items() if not name.startswith("rl_grad.")}
    if option == "untie_relative_bias":
        weights["h.1.dec_attn.r_w_bias"] = weights["h.1.dec_attn.r_w_bias"] + 0.1

    parity = check_parity(write_folder(tmp_path, published_sizes | {option: other}, weights, cases))

    assert {"rl_logits", "pixels_logits", "text_logits", "caption_logits", "stream_logits"} <= set(parity.failed)


def test_a_changed_weight_fails_only_where_it_matters(folder: Path) -> None:
    name = "vision_encoder.patch_embeddings.projection.bias"
    changed = np.load(folder / "weights.npz")[name] + 0.01
    change(folder / "weights.npz", **{name: changed, name.replace("vision", "ic", 1): changed})

    assert set(check_parity(folder).failed) == {"pixels_logits", "caption_logits"}


def test_what_is_not_finite_fails(folder: Path) -> None:
    logits = np.load(folder / "cases.npz")["text_logits"]
    logits[0, 3, 5] = np.nan
    change(folder / "cases.npz", text_logits=logits)

    assert check_parity(folder).failed == ("text_logits",)


def test_absent_and_unknown_cases_are_named_and_none_at_all_is_refused(folder: Path) -> None:
    absent = dict.fromkeys(["rl_loss", "caption_logits"])
    change(folder / "cases.npz", **absent, vqa_logits=np.zeros(3))

    parity = check_parity(folder)

    assert parity.absent == ("caption_logits", "rl_loss")
    assert parity.unknown == ("vqa_logits",)
    assert "rl_grad.word_embedding.weight" in {difference.case for difference in parity.differences}
    np.savez(folder / "cases.npz", text_tokens=np.zeros((1, 3), np.int64))
    with pytest.raises(
        ValueError, match=r"cases.npz has no case; expected some of rl_logits, pixels_logits, .*rl_grad"
    ):
        check_parity(folder)


def test_gradients_of_shared_parameters_may_have_any_of_their_names(folder: Path) -> None:
    cases = np.load(folder / "cases.npz")
    twins = {
        "rl_grad.h.1.dec_attn.r_w_bias": cases["rl_grad.r_w_bias"],
        "rl_grad.ic_encoder.row_position_embeddings.weight": cases[
            "rl_grad.vision_encoder.row_position_embeddings.weight"
        ],
    }
    change(folder / "cases.npz", **twins)

    parity = check_parity(folder)

    assert set(twins) <= {difference.case for difference in parity.differences}
    assert not parity.failed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "gelu"}, "'activation' is 'gelu'; expected 'geglu'"),
        ({"norm": "sandwich"}, "'norm' is 'sandwich'; expected 'post' or 'pre'"),
        ({"num_layers": 0}, "'num_layers' is 0; expected a whole number of at least 1"),
        ({"separator_token": 7}, "'separator_token' is 7; expected 364"),
        ({"embed_dim": None}, "has no 'embed_dim'; found num_layers, num_heads"),
        ({"num_layers": 3}, "lack 11 parameters of the model, the first is 'blocks.2"),
    ],
)
def test_another_configuration_is_refused(
    changes: dict[str, Any], message: str, folder: Path, published_sizes: dict[str, Any]
) -> None:
    sizes = published_sizes | changes
    (folder / "config.json").write_text(json.dumps({name: size for name, size in sizes.items() if size is not None}))

    with pytest.raises(ValueError, match=message):
        check_parity(folder)


@pytest.mark.parametrize("name", ["config.json", "weights.npz", "cases.npz"])
def test_a_missing_or_broken_file_is_named(name: str, folder: Path) -> None:
    (folder / name).write_text("nonsense")
    with pytest.raises(ValueError, match=name):
        check_parity(folder)

    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no .*{name}"):
        check_parity(folder)


def test_a_missing_input_and_another_shape_are_named(folder: Path) -> None:
    logits = np.load(folder / "cases.npz")["text_logits"]
    change(folder / "cases.npz", text_logits=logits[:, :-1])
    with pytest.raises(ValueError, match=r"'text_logits' has shape \(1, 26, 365\) in cases.npz; .* \(1, 27, 365\)"):
        check_parity(folder)

    change(folder / "cases.npz", text_logits=logits, text_tokens=None)
    with pytest.raises(ValueError, match="no 'text_tokens'; found rl_tokens"):
        check_parity(folder)
