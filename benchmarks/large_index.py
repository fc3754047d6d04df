"""How soon a run over 100 TB can begin: 200 thousand shards of 512 MB over 870 tasks, opened by the code that trains.

    OMP_NUM_THREADS=1 python -m benchmarks.large_index

The index is a real one, but its shards are holes of the right size, and the tasks share their tables by hard links. So
what is measured is all that happens before data are read: opening, and from any global position to its task, its
transitions, its prompt's episode and their places in the shards.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from storage.manifest import MANIFEST_NAME, StoredFile, canonical_json, encode_manifest, make_manifest
from storage.shard_tables import EPISODE_ROW, SAMPLE_ROW, checksum_of, write_tables
from storage.shards import ShardStore

SHARD_BYTES = 512_000_000
SAMPLE_STEPS, SAMPLE_BYTES = 10, 131_072
_TABLES = ("samples.npy", "episodes.npy", "pages.npy")
_SIZE = 64


def write_index(root: Path, num_tasks: int, shards_a_task: int) -> None:
    """Write an index of tasks whose steps show images, one episode a sample, with holes for shards."""
    from db1_model.layout import ImagePlace, NumberRun, StepLayout

    numbers = NumberRun("state", (16,), "mu_law")
    layout = StepLayout((), ImagePlace("frame", _SIZE, _SIZE), (numbers,), "discrete", 1, 7, "simulated")
    samples_a_shard = SHARD_BYTES // SAMPLE_BYTES
    numbers_of = np.arange(shards_a_task * samples_a_shard)
    episodes = np.zeros(len(numbers_of), EPISODE_ROW)
    episodes["length"] = SAMPLE_STEPS
    samples = np.zeros(len(numbers_of), SAMPLE_ROW)
    samples["step"], samples["episode"] = numbers_of * SAMPLE_STEPS, numbers_of
    samples["shard"], samples["at"] = np.divmod(numbers_of, samples_a_shard)
    samples["at"] *= SAMPLE_BYTES
    samples["bytes"], samples["episodes_checksum"] = SAMPLE_BYTES, checksum_of(episodes[:1])
    (root / "tables").mkdir()
    write_tables(root / "tables", samples, episodes)
    names = [f"family{number // 30}/task{number}" for number in range(num_tasks)]
    for name in names:
        facts = {"task": name, "layout": layout.to_json(), "step_tokens": layout.step_tokens}
        facts |= {"image_shape": [_SIZE, _SIZE, 3], "compression": "none"}
        _write_task(root, name, canonical_json(facts), shards_a_task, len(samples))
    ShardStore(str(root)).write_index("all", names, recipe={}, metadata={})


def _write_task(root: Path, name: str, layout: bytes, num_shards: int, num_samples: int) -> None:
    folder = root / name / "data"
    folder.mkdir(parents=True)
    files = []
    for table in _TABLES:
        os.link(root / "tables" / table, folder / table)
        files.append(StoredFile(table, (folder / table).stat().st_size, _digest(root / "tables" / table)))
    (folder / "layout.json").write_bytes(layout)
    files.append(StoredFile("layout.json", len(layout), hashlib.sha256(layout).hexdigest()))
    for number in range(num_shards):
        path = folder / f"shard-{number:06d}.tar"
        path.touch()
        os.truncate(path, SHARD_BYTES)
        files.append(StoredFile(path.name, SHARD_BYTES, hashlib.sha256(path.name.encode()).hexdigest()))
    steps = num_samples * SAMPLE_STEPS
    counts = {"num_episodes": num_samples, "num_transitions": steps, "num_tokens": steps * 18, "num_shards": num_shards}
    manifest = make_manifest(kind="shards", name=name, recipe={}, metadata=counts, files=files, data_folder="data")
    (root / name / MANIFEST_NAME).write_bytes(encode_manifest(manifest))


_DIGESTS: dict[Path, str] = {}


def _digest(path: Path) -> str:
    if path not in _DIGESTS:
        with path.open("rb") as file:
            _DIGESTS[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return _DIGESTS[path]


def measure(root: Path, count: int) -> dict[str, float]:
    """Return seconds and megabytes of a process that opens the index and finds positions."""
    begun = time.perf_counter()
    from db1_model.config import ModelConfig, TrainingConfig
    from db1_model.schedule import Schedule

    measures = {"imports, s": time.perf_counter() - begun, "imports, MB": _resident_mb()}
    begun = time.perf_counter()
    index = ShardStore(str(root)).read("all")
    measures["index open, s"], measures["index open, MB"] = time.perf_counter() - begun, _resident_mb()
    schedule = Schedule(index, ModelConfig(1, 32, 2, 1024, 1024, 32_000), TrainingConfig())
    schedule.find([0])
    measures["first position, s"], measures["first position, MB"] = time.perf_counter() - begun, _resident_mb()
    gc.freeze()  # as ``db1_model.train`` does
    for turn in ("first", "later"):
        taken_s = []
        for position in np.random.default_rng(len(turn)).integers(0, 10**11, count).tolist():
            begun = time.perf_counter()
            ((task, window),) = schedule.find([position])
            for first, _ in window.stretches:
                index[index.tasks[task]].episodes_near(first)
            taken_s.append(time.perf_counter() - begun)
        for name, value in (("median", np.median(taken_s)), ("99 %", np.quantile(taken_s, 0.99))):
            measures[f"{turn} {count:,} positions, {name}, ms"] = 1000 * float(value)
        measures[f"{turn} {count:,} positions, slowest, ms"] = 1000 * max(taken_s)
        measures[f"{turn} {count:,} positions, above 1 ms, %"] = 100 * float(np.mean(np.array(taken_s) > 1e-3))
        measures[f"{turn} {count:,} positions, MB"] = _resident_mb()
    return measures


def _resident_mb() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Write the index, open it in a process of its own, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=870)
    parser.add_argument("--shards", type=int, default=230, help="shards of a task")
    parser.add_argument("--positions", type=int, default=5000, help="random positions")
    parser.add_argument("--folder", type=Path, help="where the index is written; a temporary folder by default")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        print(json.dumps(measure(arguments.folder, arguments.positions)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write_index(Path(folder), arguments.tasks, arguments.shards)
        command = [sys.executable, "-m", "benchmarks.large_index", "--serve", "--folder", folder]
        command += ["--positions", str(arguments.positions)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # compiles, once for a machine
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    data_tb = arguments.tasks * arguments.shards * SHARD_BYTES / 1e12
    print(f"{arguments.tasks} tasks, {arguments.tasks * arguments.shards:,} shards, {data_tb:.0f} TB")
    for name, value in found.items():
        print(f"{name:38}{value:10.3f}")


if __name__ == "__main__":
    main()
