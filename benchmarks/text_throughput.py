"""How fast a folder of text becomes shards, and in how much memory: import, tokens and shards, a process each.

    OMP_NUM_THREADS=1 python -m benchmarks.text_throughput --megabytes 100

The text is the prose that is installed here, its paragraphs mixed and their words shuffled, so that no document is
there twice. CPU seconds are those of all threads and child processes, without the import of modules.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from db1_model.layout import StepLayout
from db1_model.presets import get_preset
from db1_model.round_trip import RoundTrip
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.locations import Locations
from storage.shards import SHARD_BYTES, ShardStore
from storage.tokens import TokenStore
from storage.trajectories import TrajectoryStore
from tasks.corpora.prose import documents
from tasks.exchange.language import import_language
from tasks.filter import FilteredEpisodes
from tasks.registry import get_task

TASK = "text/own"
_LINES_A_FILE = 5_000
_PARAGRAPHS = 5
_VOCABULARY = 32_000


def write_documents(folder: Path, num_bytes: int) -> None:
    """Write documents of about 700 bytes, a line of JSON each; equal sizes give equal files."""
    folder.mkdir()
    training, held_out = documents()
    paragraphs = [part for one in (*training, *held_out) for part in one.text.split("\n\n")]
    random, written, number = np.random.default_rng(0), 0, 0
    while written < num_bytes:
        with (folder / f"{number:06d}.jsonl").open("w") as file:
            for _ in range(_LINES_A_FILE):
                chosen = [paragraphs[place].split() for place in random.integers(len(paragraphs), size=_PARAGRAPHS)]
                text = "\n\n".join(" ".join(random.permutation(words)) for words in chosen)
                written += len(text.encode())
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                if written >= num_bytes:
                    break
        number += 1


def import_texts(root: Path) -> None:
    """Import the folder."""
    task, locations = get_task(TASK), Locations(str(root / "data"))
    import_language(task, str(root / "text"), locations, format="text")


def make_tokens(root: Path) -> None:
    """Turn the trajectories into tokens."""
    locations, text = Locations(str(root / "data")), TextTokenizer.load(root)
    vocabulary = Vocabulary.of(get_preset("db1-small"), text.digest)
    stored = TrajectoryStore(locations.trajectories).read(TASK)
    layout = StepLayout.from_schema(stored.schema, vocabulary)
    trip = RoundTrip(layout, text, vocabulary)
    episodes = map(trip.encode, FilteredEpisodes(stored))
    TokenStore(locations.tokens).write(TASK, layout.to_json(), episodes, recipe={}, metadata=trip.to_json)


def pack_shards(root: Path) -> None:
    """Pack the tokens."""
    locations, sizes = Locations(str(root / "data")), {"shard_bytes": SHARD_BYTES, "compression": "blosc-zstd"}
    tokens = TokenStore(locations.tokens).read(TASK)
    ShardStore(locations.shards).write(TASK, tokens, recipe={}, seed=0, **sizes)


STAGES: dict[str, Callable[[Path], None]] = {"import": import_texts, "tokens": make_tokens, "shards": pack_shards}


def measure(stage: str, root: Path) -> None:
    """Do a stage in this process, and print its wall-clock seconds, CPU seconds and peak of memory as JSON."""
    before, begun = _cpu_seconds(), time.perf_counter()
    STAGES[stage](root)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": _cpu_seconds() - before, "peak_bytes": peak}))


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Write the text, do each stage in a process of its own, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the text")
    parser.add_argument("--folder", type=Path, help="where all is written; a temporary folder by default")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        measure(arguments.stage, arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        write_documents(root / "text", 1_000_000 * arguments.megabytes)
        with (root / "text" / "000000.jsonl").open() as file:  # from a part of it, and not measured
            TextTokenizer.train((json.loads(line)["text"] for line in islice(file, 2_000)), _VOCABULARY).save(root)
        found: dict[str, dict[str, float]] = {}
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.text_throughput", "--stage", stage, "--folder", folder]
            found[stage] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        facts = TrajectoryStore(f"{folder}/data/corpora").read(TASK).manifest.metadata
    parts = [found["tokens"], found["shards"]]
    both = {name: sum(part[name] for part in parts) for name in ("seconds", "cpu_seconds")}
    found["tokens and shards"] = both | {"peak_bytes": max(part["peak_bytes"] for part in parts)}
    megabytes = sum(facts["byte_counts"]) / 1e6  # of the documents to train on
    print(f"{megabytes:.1f} MB of text in {facts['imported']['training']:,} documents")
    print(f"{'':20}{'MB/CPU-s':>10}{'MB/s':>10}{'peak MB':>10}")
    for stage, one in found.items():
        rates = f"{megabytes / one['cpu_seconds']:10.1f}{megabytes / one['seconds']:10.1f}"
        print(f"{stage:20}{rates}{one['peak_bytes'] / 1e6:10.0f}")


if __name__ == "__main__":
    main()
