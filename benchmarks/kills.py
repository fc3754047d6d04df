"""Does training on two nodes survive whatever is killed?

Something drawn by chance is killed with SIGKILL, or a node's network cut, at a moment drawn by chance, again and again.

``rank``, ``agent``, ``launcher`` and ``network`` belong to one training that a process of ours makes: the run must have
failed, and the next one must go on from the last state.

``daemon``, ``server`` (of code), ``run`` (its process, which is the launcher here) and ``dagster`` (all three at once)
belong to trainings, one each, that Dagster's daemon launched. All is as deploy/ starts it, and only starts again what
was killed: the run, or its retry, must succeed without a hand, and train again nothing but what came after its last
state.

After each kill no process may be left on a node, or of Dagster but what started again. At the end every sequence must
have been trained as in a run that nobody killed, with the same losses to the last digit:

    python -m benchmarks.kills --kills 20 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.attempts import EVERY, SERVICES, VICTIMS, Attempt, jumps, launch_and_kill, run_and_kill
from benchmarks.nodes import make_shards, two_nodes, why_no_nodes
from benchmarks.services import supervise
from db1_model.audit import read_audit
from storage.folder import StoredFolder
from storage.locations import Locations
from storage.manifest import Manifest

LAUNCHED_STEPS = 400
"""Steps of a training that the daemon launches; on a quiet machine it may end before a killed server is there again."""
_HEAD = "killed     begun at killed at last state  exit runs ended after left"


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
    """Print a row for each kill, and how the finished runs differ from those that nobody killed."""
    rng = np.random.default_rng(seed)
    everyone = [*VICTIMS, *SERVICES]
    victims = rng.permutation([everyone[number % len(everyone)] for number in range(kills)]).tolist()
    num_made = sum(victim in VICTIMS for victim in victims)
    usual = {"batch_windows": 8, "checkpoint_every": EVERY, "warmup_steps": 2, "num_nodes": 2}
    made, launched = {**usual, "steps": 8 * num_made + 10}, {**usual, "steps": LAUNCHED_STEPS}
    faults, expected = [], 0
    with tempfile.TemporaryDirectory() as folder, two_nodes() as names, supervise(Path(folder, "dagster")) as services:
        killed, *others = (Path(folder, name) for name in ("made", *(f"launched-{n}" for n in range(kills - num_made))))
        whole = Path(folder, "whole-made"), Path(folder, "whole-launched")
        for root in (killed, *others, *whole):
            make_shards(root)
        for root, training in zip(whole, (made, launched), strict=True):
            run_and_kill(root, names, training)
        print(_HEAD)
        left = iter(others)
        for victim in [*victims, ""]:
            starting = victim and rng.random() < 0.2
            after_steps = 0 if starting else int(rng.integers(1, 100 if victim in SERVICES else 10))
            moment = {"after_steps": after_steps, "wait_s": float(rng.uniform(0, 8 if starting else 0.2))}
            if victim in SERVICES:
                root = next(left)
                attempt = launch_and_kill(services, root, names, launched, victim=victim, **moment)
                fault = attempt.code or attempt.left or not _goes_on(root, attempt)
            else:
                attempt = run_and_kill(killed, names, made, victim=victim, **moment)
                began = any(line.startswith("step ") for line in attempt.lines)
                fault = (attempt.code == 0) == bool(victim) or attempt.left
                fault = fault or (began and attempt.went_on_from != expected)
                expected = attempt.last_state
            print(_describe(attempt), flush=True)
            faults += [attempt] if fault else []
        same = _tell_differences(whole[0], [killed]) & _tell_differences(whole[1], others)
    for attempt in faults:
        print(f"\n{attempt.victim or 'nothing'} killed: {attempt.left}", "".join(attempt.lines[-80:]), sep="\n")
    return not faults and same


def _goes_on(root: Path, attempt: Attempt) -> bool:
    """Return whether only a retry trained steps again, and only those since the last state."""
    found = jumps(root)
    undone = [(before - (after - 1), (after - 1) % EVERY) for before, after in found]
    return len(found) < attempt.num_runs and all(0 < steps < 2 * EVERY and rest == 0 for steps, rest in undone)


def _describe(attempt: Attempt) -> str:
    steps = f"{attempt.went_on_from:>8} {attempt.killed_at:>9} {attempt.last_state:>10}"
    ended = f"{attempt.code:>5} {attempt.num_runs:>4} {attempt.ended_after_s:>9.1f} s {len(attempt.left)}"
    return f"{attempt.victim or 'nothing':<10} {steps} {ended}"


def _tell_differences(whole: Path, killed: Sequence[Path]) -> bool:
    """Print how runs differ from one that nobody killed, and return whether they don't."""
    found = [differences((whole, root)) for root in killed]
    loss, other_steps = max((loss for loss, _ in found), default=0), sum(steps for _, steps in found)
    print(f"{len(found)} trained against one that nobody killed: ", end="")
    print(f"losses differ by {loss:g}, {other_steps} steps have other sequences")
    return loss == 0 and other_steps == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill a training on two nodes again and again.")
    parser.add_argument("--kills", type=int, default=20, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when")
    arguments = parser.parse_args()
    if why := why_no_nodes():
        sys.exit(f"no nodes can be made here: {why}")
    sys.exit(0 if compare(arguments.kills, arguments.seed) else 1)
