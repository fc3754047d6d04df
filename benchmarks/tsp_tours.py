"""Makes DB1's amount of tours, killed on the way: ``python -m benchmarks.tsp_tours FOLDER [--kills 5] [--tours 100]``.

Each of DB1's 232 tasks gets ``--tours`` training tours, one episode a tour, by the processes, the solver and the store
that the trajectories asset uses, at its default tiers. The process that makes them is killed by SIGKILL ``--kills``
times, once every ``--kill-every`` seconds, and begun again each time; CPU seconds are those of all processes, also of
the killed ones, and stand in ``FOLDER/used.jsonl``, so that the command can be stopped and given again. Check what was
made with ``DB1_DATA=FOLDER db1 verify-tours``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.registry import get_task
from tasks.rollout import record_expert, start_players
from tasks.task import schema_of
from tasks.tsp.instances import list_problems
from tasks.tsp.problem import VARIANTS

_NUM_DB1_TASKS = 232
_PR_SET_CHILD_SUBREAPER = 36
_USED = "used.jsonl"


def make_tours(root: str, num_tours: int) -> None:
    """Make the tours of all tasks that have none yet, with a line a task."""
    store = TrajectoryStore(Locations(root).trajectories)
    with start_players(os.cpu_count() or 1) as players:
        for problem in list_problems()[:_NUM_DB1_TASKS]:
            task = get_task(f"tsp/{problem.name}")
            recipe = {"task": task.id, "task_code_version": task.code_version, "num_tours": num_tours}
            if store.find(task.id, recipe):
                continue
            begun = time.perf_counter()
            episodes = record_expert(task, range(0, VARIANTS * num_tours, VARIANTS), players=players)
            store.write(task.id, schema_of(task), episodes, recipe=recipe, metadata={})
            print(f"{task.id}: {num_tours} tours in {time.perf_counter() - begun:.1f} s", flush=True)


def run(root: str, num_tours: int, num_kills: int, kill_every_s: float) -> None:
    """Make them in a process that is killed now and then, and print what they took and what is certified of them."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("the processes of a killed one cannot be waited for here, so their time would be lost")
    begun, killed, noted_s = time.perf_counter(), 0, 0.0
    while True:
        maker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tsp_tours", root, "--tours", str(num_tours), "--make"]
        )
        try:
            code = maker.wait(timeout=kill_every_s if killed < num_kills else None)
        except subprocess.TimeoutExpired:
            maker.kill()
            maker.wait()
            killed += 1
            print(f"killed, {killed} of {num_kills}", flush=True)
        else:
            break
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # for the processes that it had started
        noted_s = _note_time(Path(root), noted_s)
    _note_time(Path(root), noted_s)
    if code:
        raise SystemExit(code)
    lines = (Path(root) / _USED).read_text().splitlines()
    seconds = sum(json.loads(line)["cpu_seconds"] for line in lines)
    store = TrajectoryStore(Locations(root).trajectories)
    told = [episode.provenance for task_id in store.tasks() for episode in store.read(task_id)]
    gap = sum(one["certified_gap"] for one in told) / len(told)
    print(
        f"{len(told):,} tours in {seconds / 3600:.2f} core-hours ({seconds / len(told):.3f} CPU s each), "
        f"{(time.perf_counter() - begun) / 3600:.2f} hours by the clock, after {killed} kills\n"
        f"mean certified gap {gap:.4%}, {sum(one['proven'] for one in told) / len(told):.1%} proven to be the shortest"
    )


def _note_time(root: Path, noted_s: float) -> float:
    """Write down the CPU seconds of children that have ended, less those noted before; return those of all."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    with (root / _USED).open("a") as file:
        file.write(json.dumps({"cpu_seconds": seconds - noted_s}) + "\n")
    return seconds


def main() -> None:
    """Make tours, or have them made."""
    parser = argparse.ArgumentParser(description="Make DB1's amount of tours, killed on the way.")
    parser.add_argument("root", help="folder to make them in")
    parser.add_argument("--tours", type=int, default=100, help="tours of a task")
    parser.add_argument("--kills", type=int, default=5, help="times that the work is killed")
    parser.add_argument("--kill-every", type=float, default=600.0, help="seconds between kills")
    parser.add_argument("--make", action="store_true", help="make them in this process, which nobody kills")
    arguments = parser.parse_args()
    if arguments.make:
        make_tours(arguments.root, arguments.tours)
    else:
        run(arguments.root, arguments.tours, arguments.kills, arguments.kill_every)


if __name__ == "__main__":
    main()
