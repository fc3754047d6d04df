from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.resources import Experiment, Progress
from pipelines.cli import main
from pipelines.definitions import define
from pipelines.runs import make_stages, plan_runs

TINY = Experiment(
    name="tiny",
    tasks="tsp/tsp100-city-3,captions/rooms-1,dialogue/city-talks",
    tour_tier="fast",
    num_episodes=4,
    num_evaluation_episodes=1,
    num_processes=1,
    training={"steps": 1, "batch_windows": 3, "warmup_steps": 0},
)

PROJECT = Path(__file__).parents[2]
INSTALL_POSTGRES = "apt-get install postgresql && .venv/bin/pip install -e '.[postgres]' -c constraints.txt"
PASSWORD = "p@ss:w/rd"

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def run_db1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command; return its exit code and all that it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["db1", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out + captured.err

    return run


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a project whose model was trained for one step on tours, captions and talks; not to be changed."""
    root = tmp_path_factory.mktemp("tiny")
    stages = ("trajectories", "tokenizer", "tokens", "shards", "checkpoint")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("DB1_DATA", str(root))
        job = define(Progress()).resolve_implicit_global_asset_job_def()
        make_stages(plan_runs(stages, TINY.task_ids), job, instance, TINY, tell=lambda *_: None)
    return root


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def find_port() -> Callable[[], int]:
    """Finds a free port of this machine's loopback."""
    return free_port


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, str]]:
    """A server of Postgres on this machine's loopback, as the environment of deploy/dagster.yaml names it."""
    pytest.importorskip("dagster_postgres", reason=f"needs: {INSTALL_POSTGRES}")
    found = [*filter(None, [shutil.which("initdb")]), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    if not found:
        pytest.skip(f"needs Postgres: {INSTALL_POSTGRES}")
    programs, folder, port = Path(found[-1]).parent, Path(tempfile.mkdtemp(prefix="db1-postgres-")), free_port()
    as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    try:
        (folder / "password").write_text(PASSWORD)
        if as_other:  # Postgres refuses to run as root
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        data = ["-D", str(folder / "data")]
        make = [*as_other, str(programs / "initdb"), *data, "--username=dagster", f"--pwfile={folder}/password"]
        quickly = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        subprocess.run([*make, *quickly], check=True, capture_output=True, cwd=folder)
        serve = [*as_other, str(programs / "postgres"), *data, "-k", str(folder), "-p", str(port), "-c", "fsync=off"]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen([*serve, "-c", "listen_addresses=127.0.0.1"], stderr=log, cwd=folder) as server,
        ):
            try:
                wait_for_postgres(port, server, folder / "log")
                yield {
                    "DAGSTER_PG_HOST": "127.0.0.1",
                    "DAGSTER_PG_PORT": str(port),
                    "DAGSTER_PG_USERNAME": "dagster",
                    "DAGSTER_PG_PASSWORD": PASSWORD,
                }
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder)


def wait_for_postgres(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if "ready to accept connections" in log.read_text():
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise TimeoutError(f"no Postgres at port {port} after half a minute:\n{log.read_text()}")


@pytest.fixture
def shared_records(postgres: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose records are in an empty database, by deploy/dagster.yaml; returns the root of its data."""
    import psycopg2

    name = f"records_{time.time_ns()}"
    host, port, user, password = postgres.values()
    connection = psycopg2.connect(host=host, port=port, user=user, password=password, dbname="postgres")
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    home = tmp_path / "records"
    home.mkdir()
    (home / "dagster.yaml").symlink_to(PROJECT / "deploy" / "dagster.yaml")
    for variable, value in {
        **postgres,
        "DAGSTER_PG_DB": name,
        "DAGSTER_HOME": str(home),
        "DB1_DATA": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(variable, value)
    return tmp_path / "data"
