"""How fast is a training step, against DB1's algorithm read plainly and against a GPT of the same size?

One thread, float32, forward and backward, all in turn in one process; every model that computes the same function must
give the same loss:

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.training_step

With presets' names, only how long one sequence of each takes (the largest needs 14 GB):

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.training_step --presets db1-nano,db1-small,db1-medium,db1-1.2b
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.reference_models import GPT, PlainDB1
from benchmarks.timing import time_interleaved
from db1_model.config import ModelConfig
from db1_model.loss import find_loss_places
from db1_model.precision import fast_float32
from db1_model.presets import get_preset
from db1_model.transformer import DB1


class Trainable(Protocol):
    """A model with DB1's loss."""

    def masked_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy over the positions of the loss mask."""
        ...


@dataclass(frozen=True)
class Case:
    """Sizes of a comparison: 8 layers of width 256 with 4 heads, 4 sequences.

    Args:
        context_length: Tokens of a sequence.
        vocab_size: Tokens of the vocabulary.
        loss_share: Share of the positions that are in the loss.
    """

    context_length: int
    vocab_size: int
    loss_share: float

    @property
    def config(self) -> ModelConfig:
        """The model."""
        num_bins = min(1024, self.vocab_size // 4)
        return ModelConfig(
            num_layers=8,
            width=256,
            num_heads=4,
            context_length=self.context_length,
            memory_length=self.context_length,
            text_vocab_size=self.vocab_size - num_bins - 1,
            num_discrete=num_bins,
            num_bins=num_bins,
            dropout=0.0,
        )


CASES = (Case(1024, 2048, 1.0), Case(512, 33_025, 0.25))


def compare(case: Case, rounds: int) -> dict[str, float]:
    """Return the median seconds of a step of each model.

    Raises:
        RuntimeError: If the plain reading's loss differs from ours.
    """
    torch.manual_seed(0)
    batch = make_batch(4, case.context_length, case.vocab_size, case.loss_share)
    ours = DB1(case.config)
    plain = PlainDB1(ours)
    losses = [model.masked_loss(batch).item() for model in (ours, plain)]
    if abs(losses[0] - losses[1]) > 1e-4:
        raise RuntimeError(f"DB1's loss is {losses[0]}, that of its plain reading {losses[1]}; expected equal ones")
    models: dict[str, Trainable] = {
        "DB1, plain reading": plain,
        "DB1": ours,
        "DB1 with position='rope'": DB1(replace(case.config, position="rope")),
        "GPT, fused causal attention": GPT(case.config),
    }
    with fast_float32():
        return time_interleaved({name: _step(model, batch) for name, model in models.items()}, rounds)


def time_preset(name: str, rounds: int) -> float:
    """Return the median seconds of a preset's forward and backward pass of one full sequence."""
    config = get_preset(name)
    model, batch = DB1(config), make_batch(1, config.context_length, config.vocab_size, 1.0)
    with fast_float32():
        return time_interleaved({name: _step(model, batch)}, rounds)[name]


def make_batch(batch: int, context_length: int, vocab_size: int, loss_share: float) -> dict[str, Tensor]:
    """Return random tokens with random labels."""
    shape = batch, context_length
    loss_mask = torch.rand(shape) < loss_share
    return {
        "tokens": torch.randint(0, vocab_size, shape),
        "positions": torch.randint(0, 9, shape),
        "labels": torch.randint(0, vocab_size, shape),
        "loss_mask": loss_mask,
        "loss_places": find_loss_places(loss_mask),
    }


def _step(model: Trainable, batch: Mapping[str, Tensor]) -> Callable[[], None]:
    return lambda: model.masked_loss(batch).backward()


def main() -> None:
    """Print one table: seconds, and how many times faster each is than the plain reading and than the GPT."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each model")
    parser.add_argument("--presets", help="presets, with commas between, to time instead")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    torch.set_num_threads(1)
    if arguments.presets:
        for name in arguments.presets.split(","):
            print(f"{name:12}{time_preset(name, rounds):10.3f} s a sequence", flush=True)
        return
    print(f"{'':40}{'s a step':>10}{'x plain':>10}{'x GPT':>10}")
    for case in CASES:
        seconds = compare(case, rounds)
        plain, *_, gpt = seconds.values()
        print(f"context {case.context_length}, {case.vocab_size:,} tokens, {case.loss_share:.0%} in the loss")
        for name, value in seconds.items():
            print(f"  {name:38}{value:10.2f}{plain / value:10.2f}{gpt / value:10.2f}")


if __name__ == "__main__":
    main()
