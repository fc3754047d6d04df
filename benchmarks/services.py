"""Dagster's daemon and our server of code, each started again when it ends, as what deploy/ starts is.

Harder than a container: what a killed service had started is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from benchmarks.user_interface import ROOT, environment_of, find_port
from tasks.processes import read_status

PROGRAMS = Path(sys.executable).parent
WORKSPACE = f"--workspace={ROOT / 'deploy' / 'workspace.yaml'}"
RUN = "multiprocessing.spawn"
"""What the command of a run's process has, which the server of code starts."""

_PAUSE_S = 1.0
_SECONDS_TO_START = 180
_LAUNCH = """mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""


class Service:
    """A program that is started again a second after it ended.

    Args:
        command: Starts it.
        folder: Where it is started.
        environment: Its environment variables.
        log: Gets what it prints.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self._command, self._folder, self._environment, self._log = command, folder, environment, log
        self._stopped = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Id of the process that was started last."""
        return self._process.pid

    def stop(self) -> None:
        """End it for good."""
        self._stopped.set()
        self._process.kill()
        self._thread.join()

    def _keep(self) -> None:
        while self._process.wait() is not None and not self._stopped.wait(_PAUSE_S):
            self._process = self._start()

    def _start(self) -> subprocess.Popen[Any]:
        place: dict[str, Any] = {"cwd": self._folder, "env": self._environment, "start_new_session": True}
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, **place)


@dataclass(frozen=True)
class Services:
    """The daemon and the server of code that work in a folder.

    Args:
        folder: Where Dagster's records and the logs lie.
        environment: In which programs find the records and the server.
        port: Where the server listens.
        instance: The records.
        services: Both.
    """

    folder: Path
    environment: Mapping[str, str]
    port: int
    instance: dg.DagsterInstance
    services: Sequence[Service]

    def launch(self, asset: str, config: Mapping[str, Any]) -> str:
        """Let the daemon launch a run that makes an asset, and return its id.

        Raises:
            RuntimeError: If no server answers, or Dagster refuses.
        """
        self._wait_for_server()
        selector = {
            "repositoryLocationName": "db1",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]}],
            "assetCheckSelection": [],
        }
        variables = json.dumps({"params": {"selector": selector, "runConfigData": config}})
        told = self._call("dagster-graphql", WORKSPACE, f"--text={_LAUNCH}", f"--variables={variables}")
        with contextlib.suppress(ValueError, KeyError, IndexError):
            return json.loads(told.stdout.splitlines()[-1])["data"]["launchRun"]["run"]["runId"]
        raise RuntimeError(f"Dagster did not take the run: {told.stdout}{told.stderr}")

    def runs_of(self, run_id: str) -> list[dg.DagsterRun]:
        """Return a run and its retries, the first one first."""
        return [run for run in reversed(self.instance.get_runs()) if run_id in (run.run_id, run.root_run_id)]

    def describe(self, runs: Sequence[dg.DagsterRun]) -> list[str]:
        """Return what Dagster recorded of runs: what their processes said, and how they began and ended."""
        kinds = {dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS}
        entries = [entry for run in runs for entry in self.instance.all_logs(run.run_id)]
        told = [one for one in entries if not one.is_dagster_event or one.get_dagster_event().event_type in kinds]
        lines = [f"{one.timestamp:.1f} {one.run_id[:8]} {one.user_message or one.message}\n" for one in told]
        return [line for line in lines if " step " not in line or "going on from step " in line]

    def processes(self) -> dict[int, str]:
        """Return the command of each process that works in the folder, on whichever node, by its id."""
        mark = f"DAGSTER_HOME={self.environment['DAGSTER_HOME']}".encode()
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def kill(self, marks: Sequence[str]) -> None:
        """Kill the processes whose commands have one of the marks, as soon as there are any."""
        deadline, found = time.monotonic() + _SECONDS_TO_START, list[int]()
        while not found and time.monotonic() < deadline:
            time.sleep(0.05)
            found = [pid for pid, command in self.processes().items() if any(mark in command for mark in marks)]
        _kill(found)

    def left_over(self) -> list[str]:
        """Return the commands of runs' processes, and of all that no service of now has started."""
        commands, ours = self.processes(), {service.pid for service in self.services}
        parents = {}
        for pid in commands:
            with contextlib.suppress(OSError):
                parents[pid] = int(read_status(pid)[1])
        while more := {pid for pid in set(parents) - ours if parents[pid] in ours and RUN not in commands[pid]}:
            ours |= more
        return [commands[pid] for pid in set(parents) - ours]

    def _wait_for_server(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while self._call("dagster", "api", "grpc-health-check", f"--port={self.port}").returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no server of code after {_SECONDS_TO_START} s; its log lies in {self.folder}")

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(PROGRAMS / program), *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)


@contextmanager
def supervise(folder: Path) -> Iterator[Services]:
    """Run the daemon and the server of code in a folder, which is the working directory meanwhile."""
    port = find_port()
    reached = {"DAGSTER_CODE_HOST": "127.0.0.1", "DAGSTER_CODE_PORT": str(port)}
    environment = {**environment_of(folder), **reached}
    commands = ["db1", "serve", f"--port={port}"], ["dagster-daemon", "run", WORKSPACE]
    with (
        contextlib.chdir(folder),  # where dagster.yaml's paths begin
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(environment["DAGSTER_HOME"])) as instance,
    ):
        started = [
            Service([str(PROGRAMS / name), *rest], folder, environment, folder / f"{name}.log")
            for name, *rest in commands
        ]
        services = Services(folder, environment, port, instance, started)
        try:
            yield services
        finally:
            for service in started:
                service.stop()
            while left := services.processes():
                _kill(left)
                time.sleep(0.1)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
