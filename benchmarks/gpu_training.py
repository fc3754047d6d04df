"""How many tokens a second does each preset train on a GPU, and what share of the GPU's arithmetic is that?

Whole steps (forward, backward, clipping, AdamW) in bfloat16 at context 1,024, every position in the loss, for each
preset with each way to compute attention, compiled or not:

    python -m benchmarks.gpu_training --micro-batch 8
    python -m benchmarks.gpu_training --presets db1-1.2b --profile

FLOP a token, forward and backward, are counted as ``db1_model.budget.count_flop`` says.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from db1_model.attention import Kernel
from db1_model.budget import count_flop
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.presets import PRESETS, get_preset
from db1_model.training import TrainingModule
from db1_model.transformer import DB1

CONTEXT = 1024
PEAK_TFLOPS = 989.0
"""Dense bfloat16 products of an H100 or H200 SXM."""


@dataclass(frozen=True)
class Choice:
    """One way to compute a preset."""

    preset: str
    position: str
    attention: Kernel
    compiled: bool
    recompute: bool

    @property
    def config(self) -> ModelConfig:
        """The model, at the context length of the benchmark."""
        return get_preset(
            self.preset, context_length=CONTEXT, memory_length=CONTEXT, position=self.position, encoding="tokens"
        )


def make_batch(config: ModelConfig, batch: int, device: str) -> dict[str, Tensor]:
    """Return random tokens with every position in the loss."""
    shape = batch, CONTEXT
    return {
        "tokens": torch.randint(0, config.vocab_size, shape, device=device),
        "positions": torch.randint(0, 9, shape, device=device),
        "labels": torch.randint(0, config.vocab_size, shape, device=device),
        "loss_mask": torch.ones(shape, dtype=torch.bool, device=device),
        "loss_places": torch.arange(batch * CONTEXT, device=device),
    }


class Trainer:
    """Trains a choice on one batch, again and again."""

    def __init__(self, choice: Choice, micro_batch: int, device: str) -> None:
        self.device = device
        training = TrainingConfig(
            attention=choice.attention, compile_blocks=choice.compiled, checkpoint_activations=choice.recompute
        )
        with torch.device(device):
            self.module = TrainingModule(choice.config, training)
        self.model: DB1 = self.module.model
        self.optimizer = self.module.configure_optimizers()["optimizer"]
        self.batch = make_batch(choice.config, micro_batch, device)

    def step(self) -> None:
        """Take one step."""
        with torch.autocast(self.device, torch.bfloat16):
            loss = self.model.masked_loss(self.batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def time_step(self) -> float:
        """Return the wall seconds of a step."""
        begun = time.perf_counter()
        self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun


def measure(choice: Choice, micro_batch: int, steps: int, device: str) -> tuple[float, float, Trainer]:
    """Return tokens a second and the peak of memory in GB, after steps that compile and fill the optimiser."""
    trainer = Trainer(choice, micro_batch, device)
    for _ in range(3 if device == "cuda" else 1):
        trainer.time_step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = median(trainer.time_step() for _ in range(steps))
    memory = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else float("nan")
    return micro_batch * CONTEXT / seconds, memory, trainer


def main() -> None:
    """Print one table, and where the time goes if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default=",".join(PRESETS), help="presets, with commas between")
    parser.add_argument("--micro-batch", type=int, default=8, help="sequences of a step")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each choice")
    parser.add_argument("--kernels", default="sdpa,flex,blocks", help="ways to compute relative attention")
    parser.add_argument("--recompute", action="store_true", help="recompute blocks for the gradient")
    parser.add_argument("--peak-tflops", type=float, default=PEAK_TFLOPS, help="the GPU's dense bfloat16 products")
    parser.add_argument("--profile", action="store_true", help="print each choice's longest kernels")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU is visible; expected one, or try the benchmark itself with --device cpu")
    ways: list[tuple[str, Kernel]] = [("relative", kernel) for kernel in arguments.kernels.split(",")]
    print(f"{'preset':12}{'attention':>10}{'compiled':>10}{'tokens/s':>12}{'MFU %':>8}{'GB':>8}")
    for preset in arguments.presets.split(","):
        for position, kernel in [*ways, ("rope", "auto")]:
            for compiled in (False, True):
                choice = Choice(preset, position, kernel, compiled, arguments.recompute)
                name = "rope" if position == "rope" else kernel
                line = f"{preset:12}{name:>10}{'yes' if compiled else 'no':>10}"
                try:
                    rate, memory, trainer = measure(choice, arguments.micro_batch, arguments.steps, arguments.device)
                except (RuntimeError, ValueError) as error:
                    print(f"{line}  failed: {str(error).splitlines()[0]}", flush=True)
                    continue
                share = 100 * rate * count_flop(choice.config) / (arguments.peak_tflops * 1e12)
                print(f"{line}{rate:12,.0f}{share:8.2f}{memory:8.1f}", flush=True)
                if arguments.profile:
                    _print_profile(trainer)


def _print_profile(trainer: Trainer) -> None:
    activity = ProfilerActivity.CUDA if trainer.device == "cuda" else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        for _ in range(3):
            trainer.time_step()
    order = "self_cuda_time_total" if trainer.device == "cuda" else "self_cpu_time_total"
    print(profiled.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=60))


if __name__ == "__main__":
    main()
