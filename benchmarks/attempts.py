"""A training on two nodes, made by a process of ours or launched by Dagster's daemon, and what is killed on its way."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.nodes import ADDRESSES, processes_of, set_link, start_asset
from benchmarks.services import RUN, Services
from storage.locations import Locations

VICTIMS = "rank 0", "rank 1", "agent 0", "agent 1", "launcher", "network 0", "network 1"
"""What is killed of a training that a process of ours makes, on node 0 or 1."""
SERVICES: Mapping[str, Sequence[str]] = {
    "daemon": ["dagster-daemon run"],
    "server": ["dagster api grpc --"],
    "run": [RUN],
    "dagster": ["dagster-daemon run", "db1 serve", RUN],
}
"""What is killed of one that the daemon launched, by parts of commands: the daemon, the server of code, the run that
the server does, and all three at once."""
TIMEOUT_S = 20
"""How long a rank waits for the others; a cut network is noticed by nothing else."""
PATIENCE_S = 180
LONGEST_S = 420
"""What a run of the daemon may take: one that was never started is tried again after 180 s."""
EVERY = 5
"""Steps between two states."""


@dataclass
class Attempt:
    """What became of a run.

    Args:
        victim: What was killed.
        went_on_from: The step from which it went on.
        killed_at: The last step before the kill.
        last_state: The step from which the next run goes on.
        ended_after_s: Seconds from the kill to the end.
        code: Exit code of the process; of a run of the daemon 0 where it, or its retry, succeeded.
        num_runs: Runs of Dagster, retries among them.
        left: Commands of the processes that did not end.
        lines: What was printed; of a run of the daemon what Dagster recorded.
    """

    victim: str
    went_on_from: int = 0
    killed_at: int = 0
    last_state: int = 0
    ended_after_s: float = 0.0
    code: int | None = None
    num_runs: int = 1
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
    timeout_s = TIMEOUT_S if victim.startswith("network") else PATIENCE_S
    attempt, killed_s = Attempt(victim), time.monotonic()
    process = start_asset(root, training, _launcher(root, names, timeout_s))
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


def launch_and_kill(
    services: Services,
    root: Path,
    names: Sequence[str],
    training: Mapping[str, Any],
    *,
    victim: str,
    after_steps: int = 0,
    wait_s: float = 0,
) -> Attempt:
    """Let the daemon launch a run that makes the asset on two nodes, kill a part of Dagster, and wait for a success.

    Args:
        services: The daemon and the server of code.
        root: Where the shards lie, and the checkpoint will.
        names: The namespaces.
        training: Fields of ``TrainingConfig``.
        victim: One of ``SERVICES``.
        after_steps: Steps that the run takes before; none means from the moment on that it is queued.
        wait_s: Seconds to wait then.
    """
    attempt, begun = Attempt(victim), time.monotonic()
    run_id = services.launch("checkpoint", _configure(root, names, training))
    while len(trained_steps(root)) < after_steps and time.monotonic() - begun < PATIENCE_S:
        time.sleep(0.05)
    time.sleep(wait_s)
    services.kill(SERVICES[victim])
    killed_s, attempt.killed_at = time.monotonic(), max(trained_steps(root), default=0)
    while not _has_succeeded(runs := services.runs_of(run_id)) and time.monotonic() - killed_s < LONGEST_S:
        time.sleep(0.2)
    attempt.code, attempt.num_runs = 0 if _has_succeeded(runs) else 1, len(runs)
    attempt.ended_after_s = time.monotonic() - killed_s
    attempt.left = _wait_until_empty(names, services)
    attempt.lines = services.describe(runs)
    went_on = [int(found[1]) for line in attempt.lines if (found := re.search(r"going on from step (\d+)", line))]
    attempt.last_state = max(went_on, default=0)
    return attempt


def _configure(root: Path, names: Sequence[str], training: Mapping[str, Any]) -> dict[str, Any]:
    resources = {
        "stores": {"root": str(root)},
        "experiment": {"name": "toy", "training": dict(training)},
        "launcher": {"by": {"nodes": _launcher(root, names, PATIENCE_S)}},
    }
    return {"resources": {name: {"config": fields} for name, fields in resources.items()}}


def _launcher(root: Path, names: Sequence[str], timeout_s: int) -> dict[str, Any]:
    """Return the fields of the launcher that trains on the nodes."""
    prefixes = [f"ip netns exec {name}" for name in names]
    return {"prefixes": prefixes, "address": ADDRESSES[0], "timeout_s": timeout_s, "audit": f"{root}/audit"}


def _has_succeeded(runs: Sequence[dg.DagsterRun]) -> bool:
    return all(run.is_finished for run in runs) and runs[-1].status is dg.DagsterRunStatus.SUCCESS


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


def _wait_until_empty(names: Sequence[str], services: Services | None = None, *, seconds: float = 6.0) -> list[str]:
    """Return the processes that are left; workers of a killed rank look for it every five seconds."""

    def look() -> list[str]:
        on_nodes = [one for name in names for one in processes_of(name).values()]
        return [*on_nodes, *(services.left_over() if services else [])]

    deadline = time.monotonic() + seconds
    while (left := look()) and time.monotonic() < deadline:
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


def trained_steps(root: Path) -> list[int]:
    """Return the steps in the order in which the first rank trained them, those that a kill undid among them."""
    audit = root / "audit" / "rank-0.jsonl"
    lines = audit.read_text().splitlines(keepends=True) if audit.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]


def jumps(root: Path) -> list[tuple[int, int]]:
    """Return each step after which not the next one was trained, and the one that was."""
    steps = [0, *trained_steps(root)]
    return [(before, after) for before, after in itertools.pairwise(steps) if after != before + 1]
