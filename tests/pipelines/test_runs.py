from __future__ import annotations

import json
import multiprocessing
import platform
import subprocess
import time
from pathlib import Path

import dagster as dg
from dagster._core.events import EngineEventData

from pipelines.runs import (
    STAGES,
    StageRun,
    close_orphans,
    close_runs,
    end_processes,
    find_abandoned,
    find_cut_off,
    name_process,
    plan_runs,
)


def test_runs_follow_the_data_and_each_family_has_its_own() -> None:
    runs = plan_runs(STAGES, ["control/CartPole", "babyai/GoToObj"])

    assert [run.asset_key.to_user_string() for run in runs] == [
        "trajectories/babyai",
        "trajectories/control",
        "catalogue",
        "tokenizer",
        "tokens/babyai",
        "tokens/control",
        "shards",
        "checkpoint",
        "evaluation/babyai",
        "evaluation/control",
        "champion",
        "report",
    ]


def test_specialists_are_trained_before_they_play_and_only_where_they_are_the_experts() -> None:
    runs = plan_runs(["specialists", "trajectories"], ["control/CartPole", "mujoco/Hopper"])

    assert [run.asset_key.to_user_string() for run in runs] == [
        "specialists/mujoco",
        "trajectories/control",
        "trajectories/mujoco",
    ]


def test_tasks_that_do_not_lie_side_by_side_have_runs_of_their_own() -> None:
    runs = plan_runs(["tokens"], ["control/CartPole", "control/MountainCar", "control/Pendulum"])

    assert runs == [
        StageRun("tokens", "control", "control/CartPole", "control/MountainCar"),
        StageRun("tokens", "control", "control/Pendulum", "control/Pendulum"),
    ]


@dg.op
def nothing() -> None:
    pass


@dg.job
def job() -> None:
    nothing()


def test_a_run_whose_process_was_killed_is_closed_and_others_are_not() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        begun = dg.DagsterRunStatus.STARTED
        killed = instance.create_run_for_job(job, status=begun, tags={".dagster/db1_process": f"{platform.node()}:1:0"})
        alive = instance.create_run_for_job(job, status=begun, tags={".dagster/db1_process": name_process()})
        elsewhere = instance.create_run_for_job(job, status=begun, tags={".dagster/db1_process": "other-machine:1:0"})

        assert close_orphans(instance) == 1

        status = {run.run_id: run.status for run in instance.get_runs()}
        assert status[killed.run_id] is dg.DagsterRunStatus.FAILURE
        assert status[alive.run_id] is status[elsewhere.run_id] is begun


def test_the_runs_of_an_earlier_server_of_code_are_closed_and_those_of_others_are_not() -> None:
    def tell(host: str) -> dict[str, str]:
        return {".dagster/grpc_info": json.dumps({"host": host, "port": 4000})}

    with dg.DagsterInstance.ephemeral() as instance:
        begun, ended = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS
        ours = instance.create_run_for_job(job, status=begun, tags=tell("code"))
        finished = instance.create_run_for_job(job, status=ended, tags=tell("code"))
        others = instance.create_run_for_job(job, status=begun, tags=tell("code-2"))
        without = instance.create_run_for_job(job, status=begun)

        abandoned = find_abandoned(instance, "code", 4000)
        close_runs(instance, abandoned, "the server ended")

        assert [run.run_id for run in abandoned] == [ours.run_id]

        status = {run.run_id: run.status for run in instance.get_runs()}
        assert status[ours.run_id] is dg.DagsterRunStatus.FAILURE
        assert status[finished.run_id] is ended
        assert status[others.run_id] is status[without.run_id] is begun


def test_a_process_that_outlived_its_server_is_found_and_ended_and_one_that_has_its_id_by_chance_is_not(
    tmp_path: Path,
) -> None:
    def tell(pid: int | None, ago_s: float) -> dg.DagsterRun:
        run, kind = instance.create_run_for_job(job, status=begun, tags=at_a_socket), dg.DagsterEventType.ENGINE_EVENT
        event = dg.DagsterEvent(kind.value, job.name, event_specific_data=EngineEventData.in_process(pid or 0))
        instance.report_dagster_event(event, run.run_id, timestamp=time.time() - ago_s)
        return run

    begun, at_a_socket = dg.DagsterRunStatus.STARTED, {".dagster/grpc_info": json.dumps({"socket": "/tmp/code"})}
    spawn = multiprocessing.get_context("spawn")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, subprocess.Popen(["sleep", "60"]) as other:
        left, later = [spawn.Process(target=time.sleep, args=(60,)) for _ in range(2)]
        left.start()
        later.start()
        try:
            runs = [tell(left.pid, 0), tell(later.pid, 60), tell(other.pid, 0)]
            assert {run.run_id for run in find_cut_off(instance)} == {run.run_id for run in runs[1:]}

            end_processes(instance, runs)

            left.join(10)
            assert left.exitcode == -9
            assert later.is_alive()
            assert other.poll() is None
            assert len(find_cut_off(instance)) == 3
        finally:
            for process in (left, later, other):
                process.kill()


def test_records_that_other_machines_share_do_not_tell_whose_run_was_cut_off() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        elsewhere = {".dagster/grpc_info": json.dumps({"socket": "/tmp/code"})}
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=elsewhere)

        assert find_cut_off(instance) == []
