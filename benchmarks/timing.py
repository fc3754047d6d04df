"""Interleaved runs, so that a machine that changes its speed changes all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def time_interleaved(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of each run, one of each a round after a round that does not count.

    On a GPU these are wall seconds until the GPU is done.

    Args:
        runs: What to time, by name.
        rounds: How often.
    """
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            begun = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(clock() - begun)
    return {name: median(values) for name, values in seconds.items()}
