"""Dagster's web server and daemon on a folder of their own: what the UI asks for, and what it shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.processes import read_status

ROOT = Path(__file__).resolve().parents[1]
_SECONDS_TO_START, _SECONDS_TO_STOP = 180, 30


@dataclass(frozen=True)
class UserInterface:
    """A web server that runs.

    Args:
        url: Its address.
        session: The session of the server, the daemon and all runs that they start.
    """

    url: str
    session: int

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all of them so far, also of runs that have ended."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                numbers = read_status(int(path.name))
                ticks += sum(map(int, numbers[11:15])) if int(numbers[3]) == self.session else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return what the server answers to a GraphQL query.

        Raises:
            RuntimeError: If it answers with errors.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            value = json.load(answer)
        if value.get("errors"):
            raise RuntimeError(f"the server answers {value['errors'][0]['message']}; the query was:\n{query}")
        return value["data"]


def environment_of(folder: Path) -> Mapping[str, str]:
    """Return the environment in which data and Dagster's records lie in a folder; it is made, with its settings."""
    home = folder / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    for place in (folder, home):
        shutil.copy(ROOT / "dagster.yaml", place / "dagster.yaml")
    paths = {"DAGSTER_HOME": str(home), "DB1_DATA": str(folder / "data"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **paths}


def find_port() -> int:
    """Return a free port of this machine's loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serve(folder: Path, module: str) -> Iterator[UserInterface]:
    """Run the web server and the daemon in a folder.

    Args:
        folder: Where data and records lie.
        module: Holds the definitions.

    Raises:
        RuntimeError: If the server does not start; its log lies in the folder.
    """
    port = find_port()
    command = [sys.executable, "-m", "dagster", "dev", "-m", module, "-p", str(port)]
    with (folder / "server.log").open("wb") as log:
        place: dict[str, Any] = {"cwd": folder, "env": environment_of(folder), "start_new_session": True}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **place)
        try:
            page = UserInterface(f"http://127.0.0.1:{port}", process.pid)
            _wait_for(page, process, folder / "server.log")
            yield page
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(page: UserInterface, process: subprocess.Popen[Any], log: Path) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < _SECONDS_TO_START and process.poll() is None:
        try:
            page.ask("{ version }")
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"no server at {page.url} after {time.monotonic() - begun:.0f} s; its log is {log}")
