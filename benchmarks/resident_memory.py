"""How much memory a stream over 1,000 shards keeps: the slope after the first 50 shards' worth, and the peak.

OMP_NUM_THREADS=1 python -m benchmarks.resident_memory
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.reading import BATCH, LENGTH, STEP_TOKENS, make_tokens
from storage.shards import ShardStore
from storage.tokens import TokenEpisode, TokenStore

_TASKS = ("bench/one", "bench/two")
_EPISODE_STEPS = 400


def write_shards(root: Path, millions: int, shard_bytes: int) -> None:
    """Write two tasks' shards and an index of them."""
    from db1_model.layout import NumberRun, StepLayout

    rows = make_tokens(millions)
    layout = StepLayout((), None, (NumberRun("state", (STEP_TOKENS - 2,), "mu_law"),), "discrete", 1, 7, "bench")
    tokens, shards = TokenStore(f"{root}/tokens"), ShardStore(f"{root}/shards")
    for task in _TASKS:
        parts = (rows[first : first + _EPISODE_STEPS] for first in range(0, len(rows), _EPISODE_STEPS))
        episodes = (TokenEpisode(part, None, 0, 0.0) for part in parts)
        tokens.write(task, layout.to_json(), episodes, recipe={}, metadata={})
        stored = tokens.read(task)
        shards.write(task, stored, recipe={}, seed=0, shard_bytes=shard_bytes, compression="none")
    shards.write_index("bench", _TASKS, recipe={}, metadata={})


def stream(root: Path) -> None:
    """Read an epoch of training batches, and print the resident memory as it grows."""
    from db1_model.batches import make_loader
    from db1_model.config import ModelConfig, TrainingConfig

    index = ShardStore(f"{root}/shards").read("bench")
    config = ModelConfig(1, 32, 2, LENGTH, LENGTH, 32_000)
    num_shards = index.manifest.metadata["num_shards"]
    steps = index.manifest.metadata["num_tokens"] // LENGTH // BATCH
    loader = make_loader(index, config, TrainingConfig(steps=steps, batch_windows=BATCH))
    resident_mb = [_status_mb("VmRSS") for _ in loader]
    shards = np.linspace(0, num_shards, len(resident_mb))
    for number in (1, 50, 100, 250, 500, 750, num_shards):
        print(f"after {number:5} shards' worth {resident_mb[min(int(shards.searchsorted(number)), steps - 1)]:8.1f} MB")
    later = shards > 50
    slope = np.polyfit(shards[later], np.array(resident_mb)[later], 1)[0]
    peak = _status_mb("VmHWM")
    print(f"{num_shards} shards: {100 * slope:+.2f} MB per 100 shards after the first 50; peak {peak:.0f} MB")


def _status_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Write the shards, and stream over them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=260, help="million tokens a task")
    parser.add_argument("--shard-bytes", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the shards are written; a temporary folder by default")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        stream(arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write_shards(Path(folder), arguments.tokens, arguments.shard_bytes)
        subprocess.run([sys.executable, "-m", "benchmarks.resident_memory", "--serve", "--folder", folder], check=True)


if __name__ == "__main__":
    main()
