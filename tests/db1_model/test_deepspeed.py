from __future__ import annotations

import argparse
import fractions
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from db1_model.checkpoint import load_checkpoint
from db1_model.deepspeed import Unstated, derive_config, find_states, import_deepspeed
from db1_model.text import TextTokenizer
from storage.folder import StoredFolder

UNSTATED = Unstated(context_length=24, memory_length=13, num_bins=64, num_discrete=32)
Write = Callable[..., Path]


@pytest.fixture
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(["go to the red ball"], 300)


@pytest.fixture
def folder(tmp_path: Path) -> StoredFolder:
    return StoredFolder(tmp_path / "checkpoints", "checkpoint", "published")


@pytest.fixture
def weights(
    published_sizes: dict[str, Any], draw_published_weights: Callable[..., dict[str, Tensor]]
) -> dict[str, Tensor]:
    return {name: value.half() for name, value in draw_published_weights(published_sizes).items()}


@pytest.fixture
def write(tmp_path: Path, weights: dict[str, Tensor]) -> Write:
    """Writes a folder as DeepSpeed does, and returns it."""

    def write_states(tag: str = "step100", name: str = "mp_rank_00_model_states.pt", **changes: Any) -> Path:
        states = {
            "module": weights,
            "optimizer": {"cur_scale": 65536.0, "groups": [{"state": {0: torch.ones(2)}}]},
            "param_shapes": [{"word_embedding.weight": torch.Size([365, 32])}],
            "csr_tensor_module_names": set(),
            "global_steps": 100,
            "args": argparse.Namespace(n_layer=2, drop=0.1, env_names=["atari"], dtype=torch.float16),
        }
        path = tmp_path / "published" / tag / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(states | changes, path)
        return tmp_path / "published"

    return write_states


def test_the_checkpoint_has_the_published_weights_and_is_found_when_imported_again(
    write: Write, weights: dict[str, Tensor], folder: StoredFolder, tokenizer: TextTokenizer
) -> None:
    manifest = import_deepspeed(write(), folder, tokenizer, UNSTATED)

    loaded = load_checkpoint(folder.open())
    config = loaded.model.config
    assert loaded.step == 100
    assert (config.num_layers, config.width, config.num_heads, config.ffn_width) == (2, 32, 2, 64)
    assert (config.text_vocab_size, config.num_bins, config.num_discrete) == (300, 64, 32)
    assert (config.patch_size, config.patch_channels, config.position_vocab, config.local_positions) == (8, 32, 32, 40)
    assert (config.context_length, config.memory_length, config.norm) == (24, 13, "post")
    assert (config.pixels, config.bin_edge, config.memory, config.encoding) == (
        "standardised",
        "lower",
        "zeros",
        "tokens",
    )
    assert loaded.vocabulary.tokenizer_digest == tokenizer.digest
    weight = loaded.model.get_parameter("blocks.1.attention.query_key_value.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight, weights["h.1.dec_attn.qkv_net.weight"].float())
    before = (folder.path / "manifest.json").stat()
    assert import_deepspeed(write(), folder, tokenizer, UNSTATED).digest == manifest.digest
    assert (folder.path / "manifest.json").stat() == before
    assert import_deepspeed(write(), folder, tokenizer, Unstated("pre", 24, 13, 64, 32)).digest != manifest.digest


def test_biases_of_each_layer_and_other_sizes_are_seen_in_the_shapes(
    published_sizes: dict[str, Any], draw_published_weights: Callable[..., dict[str, Tensor]]
) -> None:
    sizes = published_sizes | {"untie_relative_bias": True, "num_layers": 11, "num_heads": 4, "patch_size": 4}

    config = derive_config(draw_published_weights(sizes), UNSTATED)

    assert config.untie_relative_bias
    assert (config.num_layers, config.num_heads, config.patch_size) == (11, 4, 4)


def test_the_tag_is_the_one_given_the_latest_or_the_only_one(write: Write) -> None:
    first = write("first") / "first"
    assert find_states(first.parent) == find_states(first) == first / "mp_rank_00_model_states.pt"

    second = write("second") / "second"
    with pytest.raises(ValueError, match=r"has the tags first, second and no file 'latest'; .* --tag"):
        find_states(second.parent)

    (first.parent / "latest").write_text("second\n")
    assert find_states(first.parent).parent == second
    assert find_states(first.parent, "first").parent == first
    with pytest.raises(FileNotFoundError, match=r"there is no .*third.mp_rank_00_model_states.pt"):
        find_states(first.parent, "third")


def test_weights_in_several_files_are_refused(write: Write, tmp_path: Path) -> None:
    write(name="mp_rank_01_model_states.pt")
    with pytest.raises(ValueError, match="weights that 2 tensor-parallel processes share"):
        find_states(write())

    split = tmp_path / "published" / "step100"
    for path in split.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"ZeRO-3 has split .*zero_pp_rank_0_mp_rank_00_model_states.pt"):
        find_states(write(name="zero_pp_rank_0_mp_rank_00_model_states.pt"))


def test_a_missing_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*nowhere.<tag>.mp_rank_00_model_states.pt; expected DeepSpeed's"):
        find_states(tmp_path / "nowhere")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "older format"])
def test_an_object_that_may_run_code_is_refused_by_name(
    is_zip: bool, write: Write, folder: StoredFolder, tokenizer: TextTokenizer
) -> None:
    source = write()
    path = find_states(source)
    torch.save({"module": {}, "share": fractions.Fraction(1, 2)}, path, _use_new_zipfile_serialization=is_zip)

    with pytest.raises(ValueError, match=r"(?s)may run code when they are read: fractions.Fraction; .*python -c"):
        import_deepspeed(source, folder, tokenizer, UNSTATED)


def test_a_cut_file_is_refused(write: Write, folder: StoredFolder, tokenizer: TextTokenizer) -> None:
    source = write()
    path = find_states(source)
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ValueError, match=r"mp_rank_00_model_states.pt is cut, broken"):
        import_deepspeed(source, folder, tokenizer, UNSTATED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"h.1.dec_attn.o_net.weight": torch.zeros(32, 31)}, r"'blocks.1.attention.output.weight' .* \(32, 31\)"),
        ({"h.1.dec_attn.o_net.weight": None}, "lack 1 parameters .* 'blocks.1.attention.output.weight'"),
        (
            {"r_w_bias": None, "r_r_bias": None, "h.1.dec_attn.r_w_bias": None},
            "lack 'h.1.dec_attn.r_w_bias'; expected it with 2 layers",
        ),
        ({"lm_head.weight": torch.zeros(3, 3)}, "DB1 has no parameter 'lm_head.weight'"),
        ({"word_embedding.weight": None}, "need 'word_embedding.weight' with 2 axes; found 58 others"),
        ({"ic_encoder.row_position_embeddings.weight": torch.ones(32, 32)}, "another name of it .* differ"),
        ({"h.0.dec_attn.r_w_bias": torch.ones(2, 16)}, "differ; .* with untie_relative_bias every layer has its own"),
        ({"h.0.pos_ff.CoreNet.2.bias": torch.full([32], torch.nan)}, "'blocks.0.feed_forward.down.bias' .*not finite"),
    ],
)
def test_other_weights_than_db1s_are_refused(
    changes: dict[str, Tensor | None],
    message: str,
    write: Write,
    weights: dict[str, Tensor],
    folder: StoredFolder,
    tokenizer: TextTokenizer,
) -> None:
    module = {name: value for name, value in (weights | changes).items() if value is not None}

    with pytest.raises(ValueError, match=message):
        import_deepspeed(write(module=module), folder, tokenizer, UNSTATED)


def test_a_file_without_weights_a_larger_tokenizer_and_too_many_bins_are_refused(
    write: Write, folder: StoredFolder, tokenizer: TextTokenizer
) -> None:
    with pytest.raises(ValueError, match="no tensors under 'module'; found module, optimizer"):
        import_deepspeed(write(module=None), folder, tokenizer, UNSTATED)
    with pytest.raises(ValueError, match=r"365 tokens less 1024 bins and the separator leave -660 for text"):
        import_deepspeed(write(), folder, tokenizer)
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ tokens; expected at most 264"):
        import_deepspeed(write(), folder, tokenizer, Unstated(num_bins=100, num_discrete=32))
