"""Do two Ray nodes share the work, and is nothing lost with one of them?

Experts play, their episodes become tokens and a model plays in the tasks of ``control``: with the processes of this
machine, then on two Ray nodes of one CPU each, which are network namespaces. In two stages the second node is killed
with SIGKILL and comes back later; in one the process that gives out the work is killed, and the stage made again:

    pip install -e '.[ray]' -c constraints.txt
    python -m benchmarks.ray_nodes
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from assets.resources import Experiment, Stores
from benchmarks.nodes import ADDRESSES, ROOT, Printer, processes_of, two_nodes, why_no_nodes
from pipelines.definitions import define
from pipelines.runs import make_stages, plan_runs
from tasks.engine import RAY_ADDRESS

TINY = Experiment(
    name="tiny",
    tasks="control",
    num_episodes=24,
    num_evaluation_episodes=4,
    num_processes=2,
    training={"steps": 2, "batch_windows": 2, "warmup_steps": 1},
)
STAGES = "trajectories", "tokenizer", "tokens", "shards", "checkpoint", "evaluation"
_PORT = 6379
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_MEMORY_MONITOR": "1", "PYTHONUNBUFFERED": "1"}
_PATIENCE_S = 60
_TRIES = 3
_AT_WORK = "ray::_do"
_NODE = re.compile(r"(10\.77\.\S+): (\d+) jobs")
_LOST = re.compile(r"(\d+) blocks lost")


@dataclass
class StageMade:
    """What became of a stage.

    Args:
        code: Exit code of the process that gave out the work.
        seconds: That it took.
        jobs: Jobs done on each node, by its address.
        num_lost: Blocks of jobs that were lost with a node, and done again.
        num_tasks: Tasks that were made and not found.
        lines: All that it printed.
    """

    code: int = 0
    seconds: float = 0.0
    jobs: dict[str, int] = field(default_factory=dict)
    num_lost: int = 0
    num_tasks: int = 0
    lines: list[str] = field(default_factory=list)


def why_no_ray() -> str:
    """Return why no Ray nodes can be started here; empty when they can."""
    if importlib.util.find_spec("ray") is None:
        return "needs the extra ray: make ray"
    return why_no_nodes()


@contextmanager
def ray_nodes() -> Iterator[tuple[str, str]]:
    """Start Ray on two nodes, and end both with all that runs on them."""
    with tempfile.TemporaryDirectory(prefix="db1-", dir="/tmp") as folder, two_nodes() as names:  # short, for sockets
        start_node(names, 0, "--head", f"--port={_PORT}", "--include-dashboard=false", f"--temp-dir={folder}")
        start_node(names, 1)
        yield names


def start_node(names: Sequence[str], number: int, *how: str) -> None:
    """Start Ray on a node; all but the first join the first.

    Raises:
        RuntimeError: If Ray does not start, three times; on a busy machine its own 30 seconds may be too short.
    """
    joins = how or (f"--address={ADDRESSES[0]}:{_PORT}",)
    limits = ("--num-cpus=1", f"--object-store-memory={100 << 20}")
    ray = ["ip", "netns", "exec", names[number], str(Path(sys.executable).with_name("ray")), "start"]
    command = [*ray, *joins, f"--node-ip-address={ADDRESSES[number]}", *limits]
    for _ in range(_TRIES):
        with tempfile.TemporaryFile("w+") as told:  # no pipe, since Ray's processes would keep it open
            started = subprocess.run(command, stdout=told, stderr=told, env={**os.environ, **_SETTINGS})
            told.seek(0)
            text = told.read()
        if started.returncode == 0:
            return
        _kill(processes_of(names[number]))
    raise RuntimeError(f"{' '.join(command)} ended with exit code {started.returncode}:\n{text}")


def make_stage(stage: str, root: Path, names: Sequence[str] = (), *, victim: str = "", after: int = 0) -> StageMade:
    """Make a stage of all tasks in a process of its own.

    Args:
        stage: Its name, or several with commas between.
        root: Where things lie.
        names: The Ray nodes; without them, the work stays on this machine.
        victim: What is killed: ``node``, the second one, or ``driver``, the process that gives out the work.
        after: Tasks that are made before.
    """
    command = [*(("ip", "netns", "exec", names[0]) if names else ()), sys.executable, "-m", "benchmarks.ray_nodes"]
    settings = {**_SETTINGS, "DB1_DATA": str(root), RAY_ADDRESS: f"{ADDRESSES[0]}:{_PORT}" if names else ""}
    there = _count_made(root / stage)
    process = subprocess.Popen(
        [*command, stage],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if victim:
        threading.Thread(
            target=_strike, args=(victim, process, names, root / stage, there + after), daemon=True
        ).start()
    made, begun = StageMade(), time.perf_counter()
    for line in process.stdout or ():
        made.lines.append(line)
        if found := re.match(r"tasks made: (\d+)", line):
            made.num_tasks += int(found[1])
        for address, number in _NODE.findall(line):
            made.jobs[address] = made.jobs.get(address, 0) + int(number)
        made.num_lost += sum(map(int, _LOST.findall(line)))
    made.code, made.seconds = process.wait(), time.perf_counter() - begun
    return made


def _strike(victim: str, driver: subprocess.Popen[str], names: Sequence[str], folder: Path, wanted: int) -> None:
    """Kill the driver, or all of the second node while it is at work, once so many tasks are made."""
    while driver.poll() is None:
        time.sleep(0.02)
        if _count_made(folder) < wanted:
            continue
        running = {driver.pid: _AT_WORK} if victim == "driver" else processes_of(names[1])
        if any(_AT_WORK in command for command in running.values()):
            _kill(running)
            return


def _count_made(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*/manifest.json"))


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def seconds_until_idle(names: Sequence[str]) -> float:
    """Wait until no process does a job on a node, and return how long it took.

    Raises:
        TimeoutError: If one still does after a minute.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < _PATIENCE_S:
        commands = [command for name in names for command in processes_of(name).values()]
        if not (busy := [command for command in commands if "tasks.workers" in command or _AT_WORK in command]):
            return time.monotonic() - begun
        time.sleep(0.1)
    raise TimeoutError(f"after {_PATIENCE_S} s there still are {busy}")


def digests(root: Path) -> Mapping[str, str]:
    """Return the digest of all that the three stages made."""
    stores = Stores(root=str(root))
    kinds = {"trajectories": stores.trajectories, "tokens": stores.tokens, "evaluation": stores.evaluation}
    return {f"{kind}/{task}": kinds[kind].read(task).manifest.digest for kind in kinds for task in TINY.task_ids}


def copy_inputs(alone: Path, together: Path) -> None:
    """Copy what the three stages need beside each other's."""
    for kind in ("tokenizer", "shards", "checkpoints"):
        shutil.copytree(alone / kind, together / kind)


def _make(stages: Sequence[str]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = define(Printer(every_s=0.0)).resolve_implicit_global_asset_job_def()

        def tell(_: object, result: dg.ExecuteInProcessResult | None) -> None:
            events = result.get_asset_materialization_events() if result else []
            works = [event.step_materialization_data.materialization.metadata.get("work") for event in events]
            print(f"tasks made: {sum(bool(work) and work.value == 'made now' for work in works)}", flush=True)

        make_stages(plan_runs(stages, TINY.task_ids), job, instance, TINY, tell=tell)


def main() -> None:
    """Print the table."""
    if why := why_no_ray():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as folder:
        alone, together = Path(folder, "alone"), Path(folder, "together")
        before = {stage: make_stage(stage, alone) for stage in STAGES}
        copy_inputs(alone, together)
        print(f"{'stage':<28}{'here':>8}{'on Ray':>8}   jobs by node, blocks lost")
        with ray_nodes() as names:
            for stage, victim, after in (
                ("trajectories", "", 0),
                ("trajectories", "node", 3),
                ("tokens", "", 0),
                ("evaluation", "driver", 2),
                ("evaluation", "node", 2),
            ):
                if victim and stage == "trajectories":
                    shutil.rmtree(together / stage)
                made = make_stage(stage, together, names, victim=victim, after=after)
                name = f"{stage}, {victim} killed" if victim else stage
                print(f"{name:<28}{before[stage].seconds:>7.1f}s{made.seconds:>7.1f}s   {made.jobs}, {made.num_lost}")
                if victim == "driver":
                    print(f"  no process does its jobs after {seconds_until_idle(names):.1f} s")
                if victim == "node":
                    start_node(names, 1)
        print("digests equal" if digests(alone) == digests(together) else "digests differ")


if __name__ == "__main__":
    _make(sys.argv[1].split(",")) if len(sys.argv) > 1 else main()
