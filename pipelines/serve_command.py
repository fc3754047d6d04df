from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import dagster as dg
import typer
from dagster._core.instance.ref import InstanceRef
from rich.console import Console

from pipelines.records import records_home
from pipelines.runs import close_runs, find_abandoned

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

    Dagster does not see that runs ended with an earlier server: they are marked as failed, and so started again.
    """
    program = str(Path(sys.executable).with_name("dagster"))
    options = [f"--host={host}", f"--port={port}", "--module-name=pipelines.definitions", "--location-name=db1"]
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(records_home()))) as instance:
        abandoned = find_abandoned(instance, known_as, port)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # started by a script with &, all would ignore SIGTERM
        server = subprocess.Popen([program, "api", "grpc", *options])
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda number, _: server.send_signal(number))
        if abandoned:
            ping = [program, "api", "grpc-health-check", f"--port={port}"]
            while server.poll() is None and subprocess.run(ping, capture_output=True).returncode:
                time.sleep(1)
            time.sleep(_SETTLING_S)
            close_runs(instance, abandoned, "its process ended with the server of code; started again, it goes on")
            console.print(f"runs that ended with an earlier server, now marked as failed: {len(abandoned)}")
    sys.exit(server.wait())
