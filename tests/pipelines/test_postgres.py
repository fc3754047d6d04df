"""Dagster's records in a real server of Postgres; only the environment says so, see deploy/dagster.yaml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg

from pipelines.records import records_home

DB1 = Path(sys.executable).with_name("db1")
TASKS = ("control/CartPole", "control/MountainCar")
ASSET = dg.AssetKey(["trajectories", "control"])


def test_two_processes_write_at_once_and_others_find_all_of_it(shared_records: Path) -> None:
    making = [
        subprocess.Popen([DB1, "make", "trajectories", task, "-e", "proof"], stdout=subprocess.PIPE, text=True)
        for task in TASKS
    ]
    told = [process.communicate(timeout=300)[0] for process in making]
    assert [process.returncode for process in making] == [0, 0], "\n".join(told)

    with dg.DagsterInstance.from_config(str(records_home())) as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        runs = instance.get_run_records()
        assert [record.dagster_run.status for record in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        for task in TASKS:
            wanted = dg.AssetRecordsFilter(asset_key=ASSET, asset_partitions=[task])
            (record,) = instance.fetch_materializations(wanted, limit=10).records
            assert record.asset_materialization
            assert record.asset_materialization.metadata["digest"].value
            events = [event.dagster_event_type for event in instance.all_logs(record.run_id) if event.is_dagster_event]
            assert events.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 1
            assert events[-1] is dg.DagsterEventType.RUN_SUCCESS

    for command, expected in (
        (["trace", "trajectories", "--task", TASKS[0], "--json"], '"cpu_seconds"'),
        (["make", "trajectories", TASKS[0], "-e", "proof"], "1 found"),
    ):
        assert expected in subprocess.run([DB1, *command], capture_output=True, text=True, check=True).stdout
    assert not list(records_home().rglob("*.db"))
