from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from db1_model.budget import (
    BYTES_A_TOKEN,
    GPUS,
    PUBLISHED_MFU,
    Memory,
    count_flop,
    count_parameters,
    estimate_gpu_hours,
    estimate_memory,
)
from db1_model.presets import PRESETS, get_preset

console = Console(highlight=False)
_MANY_GPUS = 32
_OVERHEAD_GB = 8.0


def plan(
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "db1-1.2b",
    tokens: Annotated[float, typer.Option(help="Tokens to train on, such as 300e9.")] = 300e9,
    gpus: Annotated[str, typer.Option(help=f"How many of which: 16xH100; known are {', '.join(GPUS)}.")] = "8xH100",
    mfu: Annotated[float, typer.Option(help="Share of the GPUs' arithmetic that the model's products take.")] = 0.4,
    price: Annotated[float | None, typer.Option(min=0, help="Of a GPU-hour, in your currency.")] = None,
    micro_batch: Annotated[int, typer.Option(min=1, help="Sequences that a GPU computes at once.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Sequences of an optimiser step, over all GPUs.")] = 512,
    epochs: Annotated[float, typer.Option(min=0.01, help="How often the stored tokens are gone through.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Estimate time, memory, storage and cost of a training run; nothing is measured or started."""
    config, (number, kind) = get_preset(preset), _read_gpus(gpus)
    gpu, hours = GPUS[kind], estimate_gpu_hours(config, tokens=tokens, gpu=GPUS[kind], mfu=mfu)
    flop = count_flop(config)
    memory = {
        f"{name}{', recomputed' if recompute else ''}": estimate_memory(
            config, micro_batch=micro_batch, num_gpus=number, recompute=recompute, sharded=sharded
        )
        for name, sharded in (("DDP", False), ("FSDP", True))
        for recompute in (False, True)
    }
    stored = {name: tokens / epochs * size for name, size in BYTES_A_TOKEN.items()}
    estimate = {
        "parameters": count_parameters(config),
        "flop_a_token": flop,
        "flop": flop * tokens,
        "steps": tokens / (batch * config.context_length),
        "tokens_per_s_and_gpu": gpu.tflops * 1e12 * mfu / flop,
        "gpu_hours": hours,
        "hours": hours / number,
        "cost": None if price is None else hours * price,
        "memory_gb": {name: {**asdict(one), "total": one.total} for name, one in memory.items()},
        "stored_bytes": stored,
    }
    if as_json:
        print(json.dumps(estimate, indent=1))
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for head in ("", "estimate", "how"):
        table.add_column(head, justify="right" if head == "estimate" else "left")
    for row in _rows(estimate, memory, number=number, kind=kind, mfu=mfu, price=price):
        table.add_row(*row)
    console.print(f"[bold]{preset}[/], {tokens:.4g} tokens, {number} x {kind}")
    console.print(table)
    for line in _assumptions(number, kind, micro_batch=micro_batch, context=config.context_length, batch=batch):
        console.print(f"[dim]- {line}[/]", soft_wrap=True)


def _read_gpus(text: str) -> tuple[int, str]:
    found = re.fullmatch(r"(\d+)x(.+)", text)
    if not found or int(found[1]) == 0 or found[2] not in GPUS:
        raise ValueError(f"the GPUs are {text!r}; expected a number and a kind, such as 16xH100, of {', '.join(GPUS)}")
    return int(found[1]), found[2]


def _rows(
    estimate: dict[str, Any], memory: dict[str, Memory], *, number: int, kind: str, mfu: float, price: float | None
) -> Iterator[tuple[str, str, str]]:
    gpu, hours = GPUS[kind], estimate["gpu_hours"]
    yield "parameters", f"{estimate['parameters']:,}", "sizes of the preset"
    yield "operations a token", f"{estimate['flop_a_token'] / 1e9:,.3g} GFLOP", "6 a weight, and attention's products"
    yield "operations", f"{estimate['flop']:.3g} FLOP", "times tokens"
    yield "optimiser steps", f"{estimate['steps']:,.0f}", "tokens over tokens of a batch"
    yield (
        "tokens a second",
        f"{number * estimate['tokens_per_s_and_gpu']:,.0f}",
        f"{gpu.tflops:g} TFLOPS x {mfu:.0%} MFU",
    )
    yield "GPU-days", f"{hours / 24:,.1f}", "operations over operations a day"
    took = timedelta(hours=hours / number)
    yield "[bold]time[/]", f"[bold]{took.days} d {took.seconds // 3600} h {took.seconds // 60 % 60} min[/]", "over GPUs"
    if price is not None:
        yield "[bold]cost[/]", f"[bold]{estimate['cost']:,.0f}[/]", f"GPU-hours x {price:g}"
    for name, one in memory.items():
        fits = one.total + _OVERHEAD_GB <= gpu.memory_gb
        verdict = f"[green]fits[/] {gpu.memory_gb:g} GB" if fits else f"[red]does not fit[/] {gpu.memory_gb:g} GB"
        parts = f"state {one.state:.1f}, layers {one.activations:.1f}, head {one.head:.1f}; {verdict}"
        yield f"memory a GPU, {name}", f"{one.total:.1f} GB", parts
    for name, size in estimate["stored_bytes"].items():
        yield name, f"{size / 1e9:,.0f} GB", f"{BYTES_A_TOKEN[name]:g} bytes a token"


def _assumptions(number: int, kind: str, *, micro_batch: int, context: int, batch: int) -> Iterator[str]:
    yield (
        f"float32 state, products in bfloat16, AdamW; {micro_batch} sequences of {context:,} positions a GPU at once, "
        f"{batch} a step; every position in the loss"
    )
    yield f"a GPU has {_OVERHEAD_GB:g} GB less for all this: PyTorch, communication and fragments"
    yield "recomputed: checkpoint_activations, a third more work that counts as none, so expect 3/4 of the MFU"
    yield "training is with DDP, or where its `strategy` is fsdp with FSDP"
    published = PUBLISHED_MFU.get(kind)
    yield f"published MFU on {kind}: {published}" if published else f"no MFU near this size is published for {kind}"
    if number * micro_batch > batch:
        yield f"[yellow]{number} GPUs with {micro_batch} sequences each are more than the {batch} of a step[/]"
    if number > _MANY_GPUS:
        yield f"[yellow]above {_MANY_GPUS} GPUs communication may bound the time; it is left out[/]"
    yield "bytes on disk are those of the demo's mixture; tasks that show pictures take more"
