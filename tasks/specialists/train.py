"""Trains the specialist of a task: ``python -m tasks.specialists.train mujoco/Hopper --root data/specialists``."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from storage.folder import StoredFolder
from storage.manifest import Manifest, describe_files, flush_folder, recipe_key, write_atomically
from tasks.registry import get_task
from tasks.specialists.arena import VALIDATION_SEED, Arena
from tasks.specialists.expert import CURVE, KIND, NETWORK, find_specialist, specialist_recipe
from tasks.specialists.network import Network
from tasks.task import Task

NUM_LEGS = 20
"""Parts of a training; between two of them its policy is tried and its state saved."""

_NUM_TRIALS = 5
_NOTES = "notes.json"


@dataclass
class _Leg:
    """A row of the learning curve."""

    steps: int
    mean_return: float
    lowest: float
    highest: float


def train(task: Task, folder: StoredFolder, *, share: float = 1.0) -> Manifest:
    """Train a task's specialist, or go on after the last leg that a killed run finished.

    After each leg the policy plays a few validation episodes, without noise; the best of these policies is stored.

    Args:
        task: A task with a recipe.
        folder: Where the specialist goes; states of the training lie beside it until it is complete.
        share: Share of the recipe's steps to train for; a specialist that was trained for longer is found and stays.

    Returns:
        The specialist's manifest.

    Raises:
        ValueError: If the task has no recipe, or is not one for a specialist.
    """
    made_from = specialist_recipe(task, share)
    if (recipe := task.recipe) is None:
        raise ValueError(f"task {task.id!r} has no recipe")
    if found := find_specialist(folder, task, share=share):
        return found
    from tasks.specialists.learner import Learner

    run = folder.path / "runs" / recipe_key(made_from)[:16]
    run.mkdir(parents=True, exist_ok=True)
    states = sorted(run.glob("leg-??"))
    state = states[-1] if states else None
    notes = json.loads((state / _NOTES).read_text()) if state else {"curve": [], "seconds": 0.0}
    curve, begun = [_Leg(**row) for row in notes["curve"]], time.perf_counter() - notes["seconds"]
    best = load_file(state / NETWORK) if state else {}
    learner, steps = Learner(task, recipe, seed=made_from["seed"], state=state), round(share * recipe.steps)
    arena = Arena(task)
    for leg in range(len(curve), NUM_LEGS):
        learner.train(steps * (leg + 1) // NUM_LEGS, leg=leg)
        network = learner.network()
        returns = [_play(arena, network, VALIDATION_SEED + number) for number in range(_NUM_TRIALS)]
        curve.append(_Leg(learner.steps, float(np.mean(returns)), min(returns), max(returns)))
        if max(curve, key=lambda row: row.mean_return) is curve[-1]:
            best = network.to_arrays()
        seconds = time.perf_counter() - begun
        _save(run / f"leg-{leg + 1:02d}", learner, best, {"curve": [*map(asdict, curve)], "seconds": seconds})
        told = f"{curve[-1].mean_return:,.4g} (published {recipe.published_score:,.4g})"
        print(f"{task.id}: {learner.steps:,}/{steps:,} steps, {learner.steps / seconds:,.0f}/s, {told}", flush=True)

    def fill(data: Path) -> Mapping[str, Any]:
        save_file(best, data / NETWORK)
        with (data / CURVE).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["steps", "mean_return", "lowest", "highest"])
            writer.writeheader()
            writer.writerows(map(asdict, curve))
        return {
            "curve": [asdict(row) for row in curve],
            "score": max(row.mean_return for row in curve),
            "published_score": recipe.published_score,
            "seconds": time.perf_counter() - begun,
            "versions": {name: version(name) for name in ("stable-baselines3", "torch")},
        }

    manifest = folder.write(fill, recipe=made_from)
    shutil.rmtree(run)
    return manifest


def _play(arena: Arena, network: Network, seed: int) -> float:
    seen, _ = arena.reset(seed=seed)
    total, is_over = 0.0, False
    while not is_over:
        seen, reward, terminated, truncated, _ = arena.step(network.act(seen))
        total, is_over = total + reward, terminated or truncated
    return total


def _save(final: Path, learner: Any, best: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    learner.save(partial)
    save_file(dict(best), partial / NETWORK)
    write_atomically(partial / _NOTES, json.dumps(notes).encode())
    describe_files(partial)  # flushes them to the disk
    partial.rename(final)
    flush_folder(final.parent)
    for old in sorted(final.parent.glob("leg-??"))[:-1]:
        shutil.rmtree(old)


def main() -> None:
    """Train one specialist."""
    parser = argparse.ArgumentParser(description="Train the specialist of a task.")
    parser.add_argument("task", help="id of the task")
    parser.add_argument("--root", required=True, help="where specialists lie")
    parser.add_argument("--share", type=float, default=1.0, help="of the recipe's steps")
    arguments = parser.parse_args()
    task = get_task(arguments.task)
    train(task, StoredFolder(arguments.root, KIND, task.id), share=arguments.share)


if __name__ == "__main__":
    main()
