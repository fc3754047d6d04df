"""The loop that closes itself: other data of one task, a sensor that sees them, a retraining, a contest.

    OMP_NUM_THREADS=1 python -m benchmarks.retraining --folder /tmp/loop --pictures /tmp/loop/pictures

Three tasks of control are made and a model is trained for a few steps; it serves. Another one, trained for a single
step, challenges it, and the champion stays. Then other episodes of one task are imported, and the sensor ``new_data``
is switched on in a running Dagster: its daemon starts the job, whose checkpoint is trained for longer and may win.
What was materialized since the import is printed, and with chromium the pages of the UI that show it are saved:
``docs/retraining.png`` is ``decisions.png``. On two busy cores it took seven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from benchmarks.browser import find_chromium, photograph
from benchmarks.retraining_definitions import SMALL, TASKS
from benchmarks.user_interface import ROOT, UserInterface, environment_of, serve
from storage.champions import ChampionStore

CHANGED = TASKS[0]
MODULE = "benchmarks.retraining_definitions"
_START = """mutation($sensor: String!, $location: String!) {
  startSensor(sensorSelector: {
    repositoryName: "__repository__", repositoryLocationName: $location, sensorName: $sensor
  }) { __typename ... on PythonError { message } }
}"""
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_LONGEST_S = 1800


def main() -> None:
    """Run the loop in a folder, print what was made anew, and save pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="empty; a temporary one by default")
    parser.add_argument("--pictures", type=Path, help="folder of the pictures; without it none are made")
    chosen = parser.parse_args()
    if chosen.pictures:
        find_chromium()  # before the minutes that it takes until there is something to see
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        environment = environment_of(folder)
        os.chdir(folder)
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(environment["DAGSTER_HOME"])) as instance:
            run_loop(folder, instance, chosen.pictures and chosen.pictures.absolute())


def run_loop(folder: Path, instance: dg.DagsterInstance, pictures: Path | None) -> None:
    """Do everything in a folder, and tell of it."""
    for steps in (20, 1):
        make(folder, steps)
        tell_decision(folder, f"trained for {steps} steps")
    last = find_last(instance)
    db1(folder, "export", CHANGED, "--to", str(folder / "others"))
    source = next((folder / "others").rglob("metadata.json")).parent
    db1(folder, "import", str(source), "--as", CHANGED, "--format", "minari", "--limit", "15", "--replace")
    with serve(folder, MODULE) as page:
        switch_on(page, "new_data")
        run = wait_for_retraining(instance)
        tell_decision(folder, f"retrained, run {run.run_id} {run.status.value}")
        tell_materializations(instance, last)
        if pictures:
            show(page, pictures, run)


def switch_on(page: UserInterface, sensor: str) -> None:
    """Let the daemon evaluate a sensor.

    Raises:
        RuntimeError: If the server refuses.
    """
    answer = page.ask(_START, sensor=sensor, location=MODULE)["startSensor"]
    if answer["__typename"] != "Sensor":
        raise RuntimeError(f"sensor {sensor} was not switched on: {answer}")


def make(folder: Path, steps: int) -> None:
    """Run the job with a training of so many steps."""
    training = {**SMALL.training, "steps": steps, "warmup_steps": 1}
    changed = SMALL.model_dump() | {"training": training}
    config = folder / "config.json"
    config.write_text(json.dumps({"resources": {"experiment": {"config": changed}}}))
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", MODULE, "-a", "defs", "-j", SMALL.name]
    with (folder / f"make-{steps}.log").open("wb") as log:
        where = {"cwd": folder, "env": environment_of(folder), "stdout": log, "stderr": log}
        subprocess.run([*command, "-c", str(config)], check=True, **where)


def db1(folder: Path, *arguments: str) -> None:
    """Run the command."""
    program = [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments]
    subprocess.run(program, check=True, cwd=folder, env=environment_of(folder), stdout=subprocess.DEVNULL)


def tell_decision(folder: Path, what: str) -> None:
    """Print the newest decision."""
    decision = ChampionStore(folder / "data" / "champions").read(SMALL.name).decisions[-1]
    print(f"{what}: {decision.outcome}: {decision.reason}", flush=True)


def find_last(instance: dg.DagsterInstance) -> int:
    """Return the number of the newest materialization."""
    return max(row.storage_id for row in list_materializations(instance, limit=1))


def list_materializations(instance: dg.DagsterInstance, *, limit: int = 1000) -> list[dg.EventLogRecord]:
    """Return the newest materializations of each asset."""
    keys = instance.all_asset_keys()
    return [record for key in keys for record in instance.fetch_materializations(key, limit=limit).records]


def wait_for_retraining(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """Wait until the run that the sensor starts has ended."""
    wanted, begun = dg.RunsFilter(job_name=SMALL.name, tags={"dagster/sensor_name": "new_data"}), time.monotonic()
    while time.monotonic() - begun < _LONGEST_S:
        if (runs := instance.get_runs(wanted, limit=1)) and runs[0].status in _ENDED:
            return runs[0]
        time.sleep(2)
    raise TimeoutError(f"the sensor's run has not ended after {_LONGEST_S} s; see server.log")


def tell_materializations(instance: dg.DagsterInstance, last: int) -> None:
    """Print what was materialized since, and what was not."""
    tasks: dict[str, dict[str, str]] = {}
    for record in sorted(list_materializations(instance), key=lambda row: row.storage_id):
        made = record.asset_materialization
        if made and record.storage_id > last and "work" in made.metadata:
            name = (made.partition or "").rpartition("/")[2]
            tasks.setdefault(made.asset_key.to_user_string(), {})[name] = str(made.metadata["work"].value)
    untouched = {key.to_user_string() for key in instance.all_asset_keys()} - set(tasks)
    for asset, work in tasks.items():
        print(f"{asset:<24} {'; '.join(f'{name} {how}'.strip() for name, how in work.items())}")
    print(f"not touched: {', '.join(sorted(untouched))}", flush=True)


def show(page: UserInterface, pictures: Path, run: dg.DagsterRun) -> None:
    """Save the pages that show the retraining and the contest."""
    pictures.mkdir(parents=True, exist_ok=True)
    shown = {
        "sensor": f"/locations/{MODULE}/sensors/new_data",
        "run": f"/runs/{run.run_id}",
        "runs": "/runs",
        "tokens": "/assets/tokens/control?view=events",
        "decisions": "/assets/champion?view=events",
        "check": "/assets/champion?view=checks",
    }
    for name, path in shown.items():
        photograph(f"{page.url}{path}", pictures / f"{name}.png")
        print(f"saved {pictures / name}.png", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
