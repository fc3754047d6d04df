"""What Dagster costs with all tasks as partitions: loading, a backfill in which all is made already, a page of the UI.

    OMP_NUM_THREADS=1 python -m benchmarks.partitions

Every task gets one invented episode, from which the stage ``tokens`` makes tokens in a first backfill of all partitions
of all families. The second one finds everything; its wall-clock time, daemon and queue among it, is what Dagster
costs. The third one finds 870 partitions of all families: as many as DB1 had tasks. The query is the one by which the
page of an asset asks for its partitions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from assets.partitions import partitions_of
from benchmarks.user_interface import UserInterface, environment_of, serve
from storage.episode import Episode, Leaf, Schema
from storage.trajectories import TrajectoryStore
from tasks.registry import families

_LOAD = """
import resource
from pipelines.definitions import defs
defs.get_repository_def().load_all_definitions()
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime)
"""
_LAUNCH = """mutation($ranges: [PartitionsByAssetSelector!]!) {
  launchPartitionBackfill(backfillParams: {partitionsByAssets: $ranges}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
_STATUS = """query($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs(limit: 1000) { startTime endTime } }
  }
}"""
_PARTITIONS = """query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    id partitionKeysByDimension { name type partitionKeys }
    assetPartitionStatuses { ... on DefaultPartitionStatuses {
      materializedPartitions materializingPartitions failedPartitions
    } }
  } }
}"""
_ROUNDS, _LONGEST_S = 3, 1800
_TASKS_OF_DB1 = 870
_SCHEMA = Schema({"state": Leaf("continuous", (4,))}, Leaf("discrete", num_values=2))


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="empty; a temporary one by default")
    chosen = parser.parse_args()
    tell("loading the definitions, CPU s", measure(load))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        write_episodes(folder)
        make_tokenizer(folder)
        keys = {family: partitions_of(family).get_partition_keys() for family in families()}
        counts = {family: len(of_family) for family, of_family in keys.items()}
        some = choose(keys, _TASKS_OF_DB1)
        with serve(folder, "pipelines.definitions") as page:
            for verb, chosen_keys in (("makes", keys), ("finds", keys), ("finds", some)):
                cpu_begun = page.cpu_seconds
                seconds, of_runs_s, num_runs = back_fill(page, chosen_keys)
                num_partitions = sum(map(len, chosen_keys.values()))
                tell(f"a backfill that {verb} {num_partitions:,} partitions, {num_runs} runs, wall s", seconds)
                tell("  from the first run's start to the last one's end, wall s", of_runs_s)
                tell("  CPU s of server, daemon and runs", page.cpu_seconds - cpu_begun)
            largest = max(counts, key=lambda family: counts[family])
            tell(f"partitions of one asset ({counts[largest]}), wall s", measure(lambda: ask(page, largest)))
            every = measure(lambda: sum(ask(page, family) for family in counts))
            tell(f"partitions of all {len(counts)} assets ({sum(counts.values()):,}), wall s", every)


def tell(what: str, seconds: float) -> None:
    """Print a line."""
    print(f"{what:<76} {seconds:8.2f}   load {os.getloadavg()[0]:.1f}", flush=True)


def measure(run: Callable[[], float]) -> float:
    """Return the median seconds of three."""
    return median(run() for _ in range(_ROUNDS))


def load() -> float:
    """Return the CPU seconds of a new process that loads all definitions."""
    return float(subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True).stdout)


def write_episodes(folder: Path) -> None:
    """Write an episode of ten steps for every task."""
    store = TrajectoryStore(str(folder / "data" / "trajectories"))
    states = np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 4)
    scores = {name: {"mean": mean, "returns": [mean]} for name, mean in (("random", 0.0), ("expert", 1.0))}
    told = {"reference_scores": scores, "floor": "random", "expert_route": "invented"}
    for family in families():
        for task in partitions_of(family).get_partition_keys():
            episode = Episode(task, 0, {"state": states}, np.arange(10) % 2, np.ones(10), True, False, {})
            store.write(task, _SCHEMA, [episode], recipe={"task": task}, metadata=told)


def make_tokenizer(folder: Path) -> None:
    """Make the tokenizer of the demo."""
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "make", "tokenizer"]
    subprocess.run(command, check=True, cwd=folder, env=environment_of(folder), stdout=subprocess.DEVNULL)


def choose(keys: Mapping[str, Sequence[str]], number: int) -> dict[str, Sequence[str]]:
    """Return so many partitions: the first ones of the largest family, and all of the others."""
    largest = max(keys, key=lambda family: len(keys[family]))
    return {**keys, largest: keys[largest][: number - sum(map(len, keys.values()))]}


def back_fill(page: UserInterface, keys: Mapping[str, Sequence[str]]) -> tuple[float, float, int]:
    """Make tokens; return the seconds until Dagster says so, those of the runs, and how many runs there were.

    Dagster's daemon looks at a backfill twice a minute; the runs' seconds are from the first one's start to the last
    one's end.

    Raises:
        RuntimeError: If the backfill is refused, or does not succeed.
    """
    begun = time.monotonic()
    ranges = [
        {"assetKey": {"path": ["tokens", family]}, "partitions": {"range": {"start": tasks[0], "end": tasks[-1]}}}
        for family, tasks in keys.items()
    ]
    launched = page.ask(_LAUNCH, ranges=ranges)
    answer = launched["launchPartitionBackfill"]
    if "backfillId" not in answer:
        raise RuntimeError(f"the backfill was not launched: {answer}")
    while (seconds := time.monotonic() - begun) < _LONGEST_S:
        found = page.ask(_STATUS, id=answer["backfillId"])["partitionBackfillOrError"]
        if found["status"] == "COMPLETED_SUCCESS":
            runs = found["runs"]
            return seconds, max(run["endTime"] for run in runs) - min(run["startTime"] for run in runs), len(runs)
        if found["status"] not in ("REQUESTED", "IN_PROGRESS"):
            break
        time.sleep(0.5)
    raise RuntimeError(f"the backfill has status {found['status']} after {seconds:.0f} s")


def ask(page: UserInterface, family: str) -> float:
    """Return the seconds that the server takes to tell which partitions of an asset are made."""
    begun = time.monotonic()
    page.ask(_PARTITIONS, key={"path": ["tokens", family]})
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
