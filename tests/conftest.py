from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from assets.resources import Experiment

SIZES: dict[str, Any] = {
    "num_layers": 2,
    "embed_dim": 32,
    "num_heads": 2,
    "context_length": 24,
    "memory_length": 24,
    "text_vocab_size": 300,
    "num_discrete": 32,
    "num_bins": 64,
    "ffn_dim": 64,
    "activation": "geglu",
    "norm": "post",
    "deepnorm": False,
    "untie_relative_bias": False,
    "patch_size": 8,
    "patch_channels": 32,
    "position_vocab": 32,
    "local_positions": 40,
}


@pytest.fixture(scope="session")
def two_tasks() -> Experiment:
    """An experiment that goes through all stages in seconds: two tasks of four episodes, trained for two steps."""
    from assets.resources import Experiment

    return Experiment(
        name="tiny",
        tasks="control/CartPole,control/MountainCar",
        num_episodes=4,
        num_evaluation_episodes=2,
        num_processes=1,
        training={"steps": 2, "batch_windows": 2, "warmup_steps": 1},
    )


@pytest.fixture
def published_sizes() -> dict[str, Any]:
    """DB1's name and value of each size and option, of a small model."""
    return dict(SIZES)


@pytest.fixture
def draw_published_weights() -> Callable[..., dict[str, Tensor]]:
    """Draws a model of these sizes: random parameters under DB1's names."""
    return draw_weights


def draw_weights(sizes: dict[str, Any], *, seed: int = 0) -> dict[str, Tensor]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    width, heads, channels, side = (sizes[name] for name in ("embed_dim", "num_heads", "patch_channels", "patch_size"))

    def draw(*shape: int, around: float = 0.0) -> Tensor:
        return around + 0.1 * torch.randn(shape, generator=generator)

    weights = {
        "word_embedding.weight": draw(sizes["text_vocab_size"] + sizes["num_bins"] + 1, width),
        "pos_emb.inv_freq": 10000 ** (-torch.arange(0, width, 2) / width),
        "rl_local_timestep_embedding.weight": draw(sizes["local_positions"], width),
    }
    patches = "vision_encoder.patch_embeddings"
    for name, inputs, outputs, kernel in (
        ("conv1", 3, channels, 3),
        ("residual_path.2", channels, channels, 3),
        ("residual_path.5", channels, channels, 3),
        ("projection", channels, width, side),
    ):
        weights[f"{patches}.{name}.weight"] = draw(outputs, inputs, kernel, kernel)
        weights[f"{patches}.{name}.bias"] = draw(outputs)
    for name in ("residual_path.0", "residual_path.3"):
        weights[f"{patches}.{name}.weight"] = draw(channels, around=1)
        weights[f"{patches}.{name}.bias"] = draw(channels)
    for name in ("row", "col"):
        weights[f"vision_encoder.{name}_position_embeddings.weight"] = draw(sizes["position_vocab"], width)
    for name, value in list(weights.items()):
        if name.startswith("vision_encoder."):
            weights[name.replace("vision", "ic", 1)] = value
    biases = {name: draw(heads, width // heads) for name in ("r_w_bias", "r_r_bias")}
    weights |= {} if sizes["untie_relative_bias"] else biases
    for layer in range(sizes["num_layers"]):
        if sizes["untie_relative_bias"]:
            biases = {name: draw(heads, width // heads) for name in biases}
        shapes = {
            "dec_attn.qkv_net.weight": (3 * width, width),
            "dec_attn.o_net.weight": (width, width),
            "dec_attn.r_net.weight": (width, width),
            "pos_ff.CoreNet.0.weight": (sizes["ffn_dim"], width),
            "pos_ff.CoreNet.0.bias": (sizes["ffn_dim"],),
            "pos_ff.CoreNet.2.weight": (width, sizes["ffn_dim"] // 2),
            "pos_ff.CoreNet.2.bias": (width,),
        }
        block = {f"dec_attn.{name}": value for name, value in biases.items()}
        block |= {name: draw(*shape) for name, shape in shapes.items()}
        for name in ("dec_attn.layer_norm", "pos_ff.layer_norm"):
            block |= {f"{name}.weight": draw(width, around=1), f"{name}.bias": draw(width)}
        weights |= {f"h.{layer}.{name}": value for name, value in block.items()}
    return weights


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, process)
            yield address
        finally:
            process.terminate()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "the S3 server ended"
            time.sleep(0.1)
    raise TimeoutError(f"no S3 server at {address} after a minute")


@pytest.fixture
def object_store(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty data root in an object store."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DB1_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    bucket = f"bucket-{time.time_ns()}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(bucket)
    return f"s3://{bucket}/db1"
