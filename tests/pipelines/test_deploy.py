"""The files of deploy/: what they promise, and that what compose would start does a run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.workspace.load import location_origins_from_yaml_paths

from pipelines.cli import app

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
PROGRAMS = Path(sys.executable).parent
OURS = ("code", "webserver", "daemon")
TASK = "control/CartPole"
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
MADE = """
query Made($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 5) { partition runId } } }
}
"""


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return load("compose.yaml")["services"]


def test_only_the_web_server_has_a_port_and_only_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert ports == {"webserver": ["127.0.0.1:3000:3000"]}
    assert all("network_mode" not in service for service in services.values())


def test_our_services_are_one_image_with_real_commands_and_health_checks(services: dict[str, dict[str, Any]]) -> None:
    assert {services[name]["image"] for name in OURS} == {"db1"}
    for name in OURS:
        assert (PROGRAMS / services[name]["command"][0]).is_file()
        assert services[name]["healthcheck"]["test"][0] == "CMD"
        assert (PROGRAMS / services[name]["healthcheck"]["test"][1]).is_file()
    assert services["postgres"]["healthcheck"]
    declared = load("compose.yaml")["volumes"]
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used == set(declared)


def test_no_secret_is_written_down(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or value.startswith("${POSTGRES_PASSWORD:?")
    values = load("values.yaml")
    assert not values["generatePostgresqlPasswordSecret"]
    assert "postgresqlPassword" not in values["postgresql"]
    assert values["postgresql"]["existingSecret"] == values["global"]["postgresqlSecretName"]
    assert "/deploy/.env" in (PROJECT / ".gitignore").read_text().splitlines()


def test_compose_sets_every_variable_that_the_instance_and_the_workspace_ask_for(
    services: dict[str, dict[str, Any]],
) -> None:
    asked = {
        name
        for file in ("dagster.yaml", "workspace.yaml")
        for name in re.findall(r"env: (\w+)", (DEPLOY / file).read_text())
    }
    in_image = set(re.findall(r"(\w+)=/", (DEPLOY / "Dockerfile").read_text()))

    assert asked <= set(services["code"]["environment"]) | in_image


def test_only_the_places_differ_from_the_instance_of_one_machine() -> None:
    places = {"storage", "local_artifact_storage", "compute_logs"}
    ours, shared = yaml.safe_load((PROJECT / "dagster.yaml").read_text()), load("dagster.yaml")

    assert {name for name in ours | shared if ours.get(name) != shared.get(name)} == places


def test_dagster_accepts_the_instance_and_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_CODE_HOST", "127.0.0.1")
    monkeypatch.setenv("DAGSTER_CODE_PORT", "4000")

    config, _ = dagster_instance_config(str(DEPLOY))
    (origin,) = location_origins_from_yaml_paths([str(DEPLOY / "workspace.yaml")])

    assert "postgres" in config["storage"]
    assert (origin.location_name, origin.host, origin.port) == ("db1", "127.0.0.1", 4000)  # type: ignore[attr-defined]


def test_the_image_has_the_packages_and_folders_that_the_project_has() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    sent = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    extras = re.search(r'EXTRAS="([\w,]+)"', dockerfile)

    assert extras
    assert {"postgres", "kubernetes"} <= set(extras[1].split(","))
    assert all((PROJECT / name).exists() for name in sent)
    assert {"storage", "tasks", "db1_model", "assets", "pipelines", "deploy", "pyproject.toml"} <= sent
    assert "\nUSER db1\n" in dockerfile


def test_in_kubernetes_nothing_is_open_and_all_is_one_image() -> None:
    values = load("values.yaml")
    (code,) = values["dagster-user-deployments"]["deployments"]
    _, policy = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())

    assert not values["ingress"]["enabled"]
    assert values["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    port = values["dagsterWebserver"]["service"]["port"]
    assert values["dagsterWebserver"]["readinessProbe"]["httpGet"]["port"] == port > 1024
    assert values["dagsterWebserver"]["image"] == values["dagsterDaemon"]["image"] == code["image"]
    assert code["image"]["tag"] != "latest"
    assert policy["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {}}]}],
    }
    shared = load("dagster.yaml")
    assert values["additionalInstanceConfig"]["concurrency"] == shared["concurrency"]
    freed_after_s = shared["run_monitoring"]["free_slots_after_run_end_seconds"]
    assert values["dagsterDaemon"]["runMonitoring"]["freeSlotsAfterRunEndSeconds"] == freed_after_s
    assert "runCoordinator" not in values["dagsterDaemon"]


def test_the_document_names_commands_that_exist() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text()
    there = typer.main.get_command(app)

    named = set(re.findall(r"(?:^|`|exec code )db1 (\w+)", text, re.MULTILINE))

    assert {"stale", "rollback", "doctor", "checkpoint"} <= named <= set(there.commands)  # type: ignore[attr-defined]


@contextmanager
def serve(command: Sequence[str], health: Sequence[str], log: Path) -> Iterator[None]:
    """Run a service as compose would, once its health check says that it is there."""
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=PROJECT) as process,
    ):
        try:
            until = time.monotonic() + 300
            while subprocess.run(health, capture_output=True, cwd=PROJECT).returncode:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, f"not healthy after five minutes:\n{log.read_text()}"
                time.sleep(0.5)
            yield
        finally:
            process.terminate()


def ask(address: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


@pytest.mark.slow
def test_what_compose_starts_does_a_run_that_graphql_asks_for(
    services: dict[str, dict[str, Any]],
    shared_records: Path,
    find_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ports = {"4000": str(find_port()), "3000": str(find_port())}
    monkeypatch.setenv("DAGSTER_CODE_HOST", "127.0.0.1")
    monkeypatch.setenv("DAGSTER_CODE_PORT", ports["4000"])
    monkeypatch.setenv("PATH", f"{PROGRAMS}:{os.environ['PATH']}")
    address, before = f"http://127.0.0.1:{ports['3000']}", sorted(DEPLOY.rglob("*"))

    def on_loopback(command: Sequence[str]) -> list[str]:
        pattern = re.compile("|".join([r"0\.0\.0\.0", *ports]))
        return [pattern.sub(lambda found: ports.get(found[0], "127.0.0.1"), part) for part in command]

    with ExitStack() as stack:
        for name in OURS:
            command, (_, *health) = services[name]["command"], services[name]["healthcheck"]["test"]
            stack.enter_context(serve(on_loopback(command), on_loopback(health), tmp_path / f"{name}.log"))
        experiment = {"config": {"name": "tiny", "num_episodes": 4, "num_processes": 1}}
        params = {
            "selector": {
                "repositoryLocationName": "db1",
                "repositoryName": "__repository__",
                "jobName": "__ASSET_JOB",
                "assetSelection": [{"path": ["trajectories", "control"]}],
                "assetCheckSelection": [],
            },
            "runConfigData": {"resources": {"experiment": experiment}},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": TASK}]},
        }
        launched = ask(address, LAUNCH, {"params": params})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run, status, until = launched["run"]["runId"], "", time.monotonic() + 300
        while (status := ask(address, STATUS, {"id": run})["runOrError"]["status"]) not in ENDED:
            assert time.monotonic() < until, status
            time.sleep(1)
        made = ask(address, MADE, {"key": {"path": ["trajectories", "control"]}})["assetOrError"]

    assert status == "SUCCESS"
    assert made["assetMaterializations"] == [{"partition": TASK, "runId": run}]
    assert (shared_records / "trajectories" / TASK / "manifest.json").is_file()
    assert list((tmp_path / "records" / "storage" / run).rglob("*.err"))
    assert sorted(DEPLOY.rglob("*")) == before
