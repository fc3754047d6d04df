"""Does training on two nodes survive whatever is killed?

One training of the asset ``checkpoint`` on two network namespaces; again and again a process drawn by chance is killed
with SIGKILL, or a node's network cut, at a moment drawn by chance, and the asset is made again. After each kill: the
run must have failed, no process may be left on a node, and the next run must go on from the last state. At the end
every sequence must have been trained as in a run that nobody killed, with the same losses to the last digit:

    python -m benchmarks.kills --kills 20 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nodes import ADDRESSES, make_shards, processes_of, set_link, start_asset, two_nodes, why_no_nodes
from db1_model.audit import read_audit
from storage.folder import StoredFolder
from storage.locations import Locations
from storage.manifest import Manifest

VICTIMS = "rank 0", "rank 1", "agent 0", "agent 1", "launcher", "network 0", "network 1"
TIMEOUT_S = 20
"""How long a rank waits for the others; a cut network is noticed by nothing else."""
PATIENCE_S = 180
EVERY = 5
"""Steps between two states."""


@dataclass
class Attempt:
    """What became of a run."""

    victim: str
    went_on_from: int = 0
    killed_at: int = 0
    last_state: int = 0
    ended_after_s: float = 0.0
    code: int | None = None
    left: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def run_and_kill(
    root: Path,
    names: Sequence[str],
    training: Mapping[str, Any],
    *,
    victim: str = "",
    after_steps: int = 0,
    wait_s: float = 0,
) -> Attempt:
    """Make the asset on two nodes, and kill something on the way.

    Args:
        root: Where the shards lie, and the checkpoint will.
        names: The namespaces.
        training: Fields of ``TrainingConfig``.
        victim: One of ``VICTIMS``, or nothing.
        after_steps: Steps that the run takes before; none means while it starts.
        wait_s: Seconds to wait then.
    """
    prefixes = [f"ip netns exec {name}" for name in names]
    timeout_s = TIMEOUT_S if victim.startswith("network") else PATIENCE_S
    launcher = {"prefixes": prefixes, "address": ADDRESSES[0], "timeout_s": timeout_s, "audit": f"{root}/audit"}
    attempt, killed_s = Attempt(victim), time.monotonic()
    process = start_asset(root, training, launcher)
    alarm = threading.Timer(PATIENCE_S, lambda: _end(process, names))  # a hang is a finding, not the end of the table
    alarm.start()
    steps = 0

    def strike() -> None:
        nonlocal killed_s
        time.sleep(wait_s)
        killed_s = time.monotonic()
        _strike(victim, process.pid, names)

    if victim and not after_steps:
        threading.Thread(target=strike, daemon=True).start()
    for line in process.stdout or ():
        attempt.lines.append(line)
        if found := re.match(r"going on from step (\d+)", line):
            attempt.went_on_from = attempt.killed_at = int(found[1])
        if found := re.match(r"step (\d+)/", line):
            steps, attempt.killed_at = steps + 1, int(found[1])
            if victim and steps == after_steps:
                strike()
    attempt.code = process.wait()
    attempt.ended_after_s = time.monotonic() - killed_s
    attempt.last_state = last_state(root)
    attempt.left = _wait_until_empty(names)
    alarm.cancel()
    for name in names:
        set_link(name, up=True)
    return attempt


def _strike(victim: str, launcher: int, names: Sequence[str]) -> None:
    kind, _, node = victim.partition(" ")
    if kind == "network":
        set_link(names[int(node)], up=False)
        return
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        commands = processes_of(names[int(node)]) if node else {launcher: ""}
        found = [pid for pid, command in commands.items() if kind == "launcher" or _is(kind, command)]
        for pid in found[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def _is(kind: str, command: str) -> bool:
    return "db1_model.train" in command and ("torch.distributed.run" in command) == (kind == "agent")


def _wait_until_empty(names: Sequence[str], *, seconds: float = 6.0) -> list[str]:
    """Return the processes that are left on the nodes; workers of a killed rank look for it every five seconds."""
    deadline = time.monotonic() + seconds
    while (left := [one for name in names for one in processes_of(name).values()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _end(process: subprocess.Popen[str], names: Sequence[str]) -> None:
    process.kill()
    for pid in (pid for name in names for pid in processes_of(name)):
        os.kill(pid, signal.SIGKILL)


def last_state(root: Path) -> int:
    """Return the step of the newest training state on disk; 0 without one."""
    states = Path(Locations(str(root)).checkpoints).glob("toy/runs/*/step-*.ckpt")
    return max((int(state.stem.removeprefix("step-")) for state in states), default=0)


def differences(roots: Sequence[Path]) -> tuple[float, int]:
    """Return the largest difference of two finished runs' losses, and the steps whose sequences differ."""
    manifests = [read_checkpoint(root) for root in roots]
    losses = [np.array([row["loss"] for row in manifest.metadata["log"]]) for manifest in manifests]
    seen = [read_audit(root / "audit") for root in roots]
    steps = set(seen[0]) | set(seen[1])
    return float(np.abs(losses[0] - losses[1]).max()), sum(seen[0].get(step) != seen[1].get(step) for step in steps)


def read_checkpoint(root: Path) -> Manifest:
    """Return the manifest of the checkpoint that was made."""
    return StoredFolder(Locations(str(root)).checkpoints, "checkpoint", "toy").read()


def compare(kills: int, seed: int) -> bool:
    """Print a row for each kill, and how the finished run differs from one that nobody killed."""
    rng = np.random.default_rng(seed)
    training = {"steps": 8 * kills + 10, "batch_windows": 8, "checkpoint_every": EVERY, "warmup_steps": 2}
    training["num_nodes"] = 2
    faults = []
    with tempfile.TemporaryDirectory() as folder, two_nodes() as names:
        roots = Path(folder, "whole"), Path(folder, "killed")
        for root in roots:
            make_shards(root)
        run_and_kill(roots[0], names, training)
        print(
            f"{'killed':<10} {'begun at':>8} {'killed at':>9} {'last state':>10} {'exit':>5} {'ended after':>11} left"
        )
        victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
        expected = 0
        for victim in [*rng.permutation(victims).tolist(), ""]:
            starting = victim and rng.random() < 0.2
            after_steps, wait_s = int(rng.integers(1, 10)), float(rng.uniform(0, 8 if starting else 0.2))
            attempt = run_and_kill(
                roots[1], names, training, victim=victim, after_steps=0 if starting else after_steps, wait_s=wait_s
            )
            steps = f"{attempt.went_on_from:>8} {attempt.killed_at:>9} {attempt.last_state:>10}"
            ended = f"{attempt.code:>5} {attempt.ended_after_s:>9.1f} s {len(attempt.left)}"
            print(f"{victim or 'nothing':<10} {steps} {ended}", flush=True)
            began = any(line.startswith("step ") for line in attempt.lines)
            if (attempt.code == 0) == bool(victim) or attempt.left or (began and attempt.went_on_from != expected):
                faults.append((attempt, expected))
            expected = attempt.last_state
        loss, other_steps = differences(roots)
        print(
            f"against the run that nobody killed: losses differ by {loss:g}, {other_steps} steps have other sequences"
        )
    for attempt, expected in faults:
        print(f"\n{attempt.victim}: expected to go on from {expected} and to fail;", "".join(attempt.lines[-80:]))
    return not faults and loss == 0 and other_steps == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill a training on two nodes again and again.")
    parser.add_argument("--kills", type=int, default=20, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when")
    arguments = parser.parse_args()
    if why := why_no_nodes():
        sys.exit(f"no nodes can be made here: {why}")
    sys.exit(0 if compare(arguments.kills, arguments.seed) else 1)
