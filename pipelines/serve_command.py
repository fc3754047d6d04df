from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.launcher_choice import ChosenLauncher
from pipelines.records import open_records
from pipelines.runs import close_runs, end_processes, find_abandoned
from tasks.processes import die_with_parent

console = Console(highlight=False)
_SETTLING_S = 15.0
"""What the daemon needs to find a server that is there again; a run that it cannot start at once it leaves alone."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 4000,
    known_as: Annotated[
        str, typer.Option(envvar="DAGSTER_CODE_HOST", help="Host under which the web server and the daemon know it.")
    ] = "127.0.0.1",
) -> None:
    """Serve the definitions to Dagster's web server and daemon, and do the runs; see deploy/compose.yaml.

    Dagster does not see that runs ended with an earlier server: they are marked as failed, and so started again. Where
    the machine did not end their processes too, this command does.
    """
    ChosenLauncher.from_environment()  # the server would tell of a broken choice in the midst of its own lines
    _refuse_a_second(host, port)
    program = str(Path(sys.executable).with_name("dagster"))
    options = [f"--host={host}", f"--port={port}", "--module-name=pipelines.definitions", "--location-name=db1"]
    with open_records() as instance:
        abandoned = find_abandoned(instance, known_as, port)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # started by a script with &, all would ignore SIGTERM
        server = subprocess.Popen([program, "api", "grpc", *options], preexec_fn=die_with_parent)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda number, _: server.send_signal(number))
        if abandoned and _is_settled(server, program, port):
            end_processes(instance, abandoned)
            theirs = {run.run_id for run in abandoned}
            left = [run for run in find_abandoned(instance, known_as, port) if run.run_id in theirs]
            close_runs(instance, left, "its process ended with the server of code; started again, it goes on")
            console.print(f"runs that ended with an earlier server, now marked as failed: {len(left)}")
    sys.exit(server.wait())


def _is_settled(server: subprocess.Popen[bytes], program: str, port: int) -> bool:
    """Wait until the daemon knows that the server is there again, and return whether it still is."""
    ping = [program, "api", "grpc-health-check", f"--port={port}"]
    while server.poll() is None and subprocess.run(ping, capture_output=True).returncode:
        time.sleep(1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_SETTLING_S)
    return server.poll() is None


def _refuse_a_second(host: str, port: int) -> None:
    """Raise an error where another server listens: gRPC would share the port with it, and its runs would be closed."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        mend = "stop the one that listens there, or take another --port"
        raise RuntimeError(f"no server of code can listen at {host}:{port}: {error}; {mend}") from None
