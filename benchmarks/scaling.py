"""How much faster do two nodes of one core each train than one, and what does the asset around training cost?

Strong scaling: the same batch on one node and on two, each a network namespace of its own pinned to a core of its own,
in turn. The rate is the one of the training log, start and end left out. The asset's cost is the time of
``dg.materialize``, and of a whole process that imports Dagster for it, less that of the same training process started
by hand. On a quiet machine with two cores:

    python -m benchmarks.scaling
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.nodes import ADDRESSES, ROOT, make_shards, start_asset, two_nodes, why_no_nodes
from storage.locations import Locations

_COLD_STEPS = 5


def measure_rate(root: Path, names: tuple[str, ...], training: dict[str, Any]) -> float:
    """Return the positions a second that these nodes train, after the first steps."""
    make_shards(root)
    prefixes = [f"taskset -c {core} ip netns exec {name}" for core, name in enumerate(names)]
    process = start_asset(root, {**training, "num_nodes": len(names)}, {"prefixes": prefixes, "address": ADDRESSES[0]})
    output, _ = process.communicate()
    rates = [float(rate) for rate in re.findall(r"^step .* ([\d.]+) k positions/s", output, re.MULTILINE)]
    if process.returncode or len(rates) <= _COLD_STEPS:
        raise RuntimeError(f"training on {len(names)} nodes failed; its output:\n{output}")
    return 1000 * median(rates[_COLD_STEPS:])


def measure_asset(root: Path, training: dict[str, Any]) -> tuple[float, float, float]:
    """Return the seconds of a process that makes the asset, of the asset in it, and of its training process alone."""
    make_shards(root)
    begun = time.perf_counter()
    output, _ = start_asset(root, training, {}).communicate()
    whole_s = time.perf_counter() - begun
    if not (told := re.search(r"^asset ([\d.]+) s", output, re.MULTILINE)):
        raise RuntimeError(f"the asset failed; its output:\n{output}")
    checkpoints = Path(Locations(str(root)).checkpoints)
    (checkpoints / "toy").rename(root / "made")
    begun = time.perf_counter()
    command = [sys.executable, "-m", "db1_model.train", "--config", str(checkpoints / "toy.json")]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return whole_s, float(told[1]), time.perf_counter() - begun


def compare(rounds: int, batch: int) -> None:
    """Print both tables."""
    training = {"steps": 40, "batch_windows": batch, "checkpoint_every": 1000, "warmup_steps": 2}
    with tempfile.TemporaryDirectory() as folder, two_nodes() as names:
        places = (Path(folder, str(number)) for number in range(1000))
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for number, measured in rates.items():
                measured.append(measure_rate(next(places), names[:number], training))
        print(f"{'nodes of one core':<32} {'positions/s':>12} {'ratio':>6}")
        for number, measured in rates.items():
            print(f"{number:<32} {median(measured):>12,.0f} {median(measured) / median(rates[1]):>6.2f}")
        short = {**training, "steps": 10}
        seconds = [measure_asset(next(places), short) for _ in range(rounds)]
    whole_s, asset_s, alone_s = (median(measured) for measured in zip(*seconds, strict=True))
    print(f"\n{'':<32} {'seconds':>12} {'around training':>16}")
    print(f"{'a process with the asset':<32} {whole_s:>12.2f} {whole_s - alone_s:>16.2f}")
    print(f"{'the asset in it':<32} {asset_s:>12.2f} {asset_s - alone_s:>16.2f}")
    print(f"{'its training process alone':<32} {alone_s:>12.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how training scales to two nodes.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind, in turn; medians are shown")
    parser.add_argument("--batch", type=int, default=128, help="sequences a step, shared by the nodes")
    arguments = parser.parse_args()
    if why := why_no_nodes():
        sys.exit(f"no nodes can be made here: {why}")
    compare(arguments.rounds, arguments.batch)
