"""Two nodes on this machine: network namespaces with addresses of their own, and training on them through the asset.

Needs root and iproute2. A node's processes are those of its namespace, so that none of them can be overlooked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from assets.checkpoint import checkpoint
from assets.resources import Experiment, Progress, Stores
from db1_model.layout import StepLayout
from db1_model.presets import get_preset
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from pipelines.launchers import ProcessLauncher, TorchrunLauncher
from storage.episode import Episode, Leaf, Schema
from storage.locations import Locations
from storage.shards import ShardStore
from storage.tokens import TokenStore

ROOT = Path(__file__).parents[1]
ADDRESSES = "10.77.0.1", "10.77.0.2"
LINK = "cable"
"""Network interface of each node."""


def why_no_nodes() -> str:
    """Return why no network namespaces can be made here; empty when they can."""
    if os.geteuid():
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need iproute2: apt-get install iproute2"
    name = f"db1-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made.stderr.strip()


@contextmanager
def two_nodes() -> Iterator[tuple[str, str]]:
    """Make two namespaces joined by a virtual cable, and remove them with all that runs in them."""
    _remove_stale()
    names = f"db1-{os.getpid()}-a", f"db1-{os.getpid()}-b"
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("-n", names[0], "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", LINK)
            _ip("-n", name, "link", "set", "lo", "up")
            set_link(name, up=True)
        yield names
    finally:
        for name in names:
            _remove(name)


def set_link(name: str, *, up: bool) -> None:
    """Join a node's end of the cable, or cut it."""
    _ip("-n", name, "link", "set", LINK, "up" if up else "down")


def processes_of(name: str) -> dict[int, str]:
    """Return the command of each process of a node, by its id."""
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
    commands = {int(pid): Path(f"/proc/{pid}/cmdline") for pid in found.split()}
    return {pid: path.read_bytes().replace(b"\0", b" ").decode() for pid, path in commands.items() if path.exists()}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _remove(name: str) -> None:
    for pid in processes_of(name):
        os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _remove_stale() -> None:
    """Remove the nodes of processes that were killed before they could."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line.startswith("db1-")):
        if not Path(f"/proc/{name.split('-')[1]}").exists():
            _remove(name)


def make_shards(root: Path) -> None:
    """Make shards of a task whose action is the sign of its observation, under the index ``toy``."""
    tokenizer = TextTokenizer.train(["go to the red ball"], 1024)
    vocabulary = Vocabulary.of(get_preset("db1-nano"), tokenizer.digest)
    schema = Schema({"observation": Leaf("continuous", (3,))}, Leaf("discrete", (), num_values=2))
    layout = StepLayout.from_schema(schema, vocabulary)
    seen = np.random.default_rng(0).normal(size=(40, 50, 3)).astype(np.float32)
    episodes = (
        Episode("toy/sign", seed, {"observation": one}, (one[:, 0] > 0).astype(np.int64), np.ones(50), True, False)
        for seed, one in enumerate(seen)
    )
    places = Locations(str(root))
    tokens, shards = TokenStore(places.tokens), ShardStore(places.shards)
    encoded = (encode_episode(episode, layout, tokenizer, vocabulary) for episode in episodes)
    tokens.write("toy/sign", layout.to_json(), encoded, recipe={}, metadata={})
    shards.write("toy/sign", tokens.read("toy/sign"), recipe={}, seed=0)
    shards.write_index("toy", ["toy/sign"], recipe={}, metadata={"vocabulary": vocabulary.to_json()})


def start_asset(root: Path, training: Mapping[str, Any], launcher: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a process that makes the asset ``checkpoint``; it prints what the training prints.

    Args:
        root: Where the shards lie, and the checkpoint will.
        training: Fields of ``TrainingConfig``.
        launcher: Fields of ``TorchrunLauncher``; with ``prefixes`` on nodes, without them in one process here.
    """
    command = [sys.executable, "-m", "benchmarks.nodes", str(root), json.dumps(training), json.dumps(launcher)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Printer(Progress):
    """Prints what is told."""

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, flush=True)


def _make_asset(root: str, training: str, launcher: str) -> None:
    begun = time.perf_counter()
    fields = json.loads(launcher)
    resources = {
        "stores": Stores(root=root),
        "experiment": Experiment(name="toy", training=json.loads(training)),
        "progress": Printer(),
        "launcher": TorchrunLauncher(**fields) if "prefixes" in fields else ProcessLauncher(**fields),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([checkpoint], resources=resources, instance=instance)
    print(f"asset {time.perf_counter() - begun:.2f} s", flush=True)


if __name__ == "__main__":
    _make_asset(*sys.argv[1:])
