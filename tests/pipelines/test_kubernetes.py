from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from assets.checkpoint import checkpoint
from assets.resources import Experiment, Progress, Stores
from benchmarks.attempts import last_state
from benchmarks.kills import differences
from benchmarks.nodes import make_shards, start_asset
from db1_model.config import TrainingConfig
from pipelines.kubernetes import KubernetesLauncher

TRAINING = {"steps": 20, "batch_windows": 4, "checkpoint_every": 5, "warmup_steps": 2}
VERSIONS = "1.27", "1.32", kubernetes_validate.latest_version()

FAKE = Path(__file__).with_name("fake_kubectl.py")


def configure(root: Path, **training: Any) -> dict[str, Any]:
    places = {"shards": str(root / "shards"), "checkpoints": str(root / "checkpoints"), "checkpoint": "Toy_1"}
    return {**places, "index": "toy", "training": TrainingConfig(**training).to_json(), "start": None}


def make_launcher(root: Path, **fields: Any) -> KubernetesLauncher:
    gpus = {"nvidia.com/gpu": "8", "memory": "256Gi"}
    return KubernetesLauncher(image="db1:1", claim="data", mount=str(root), resources=gpus, **fields)


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """Folder of a cluster that is this machine."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    return folder


def kubectl(cluster: Path) -> str:
    return shlex.join([sys.executable, str(FAKE), str(cluster)])


def calls_of(cluster: Path) -> list[str]:
    return [line.split()[0] for line in (cluster / "calls").read_text().splitlines()]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifest_is_one_by_the_schemas_of_kubernetes(tmp_path: Path, version: str) -> None:
    pod = {"nodeSelector": {"gpu": "h100"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}

    manifest = make_launcher(tmp_path, pod=pod).manifest(configure(tmp_path, num_nodes=4), {"OMP_NUM_THREADS": "1"})

    for item in manifest["items"]:
        kubernetes_validate.validate(item, version, strict=True)


def test_a_manifest_with_a_wrong_field_is_none_by_the_schemas(tmp_path: Path) -> None:
    manifest = make_launcher(tmp_path, pod={"nodeSelectors": {}}).manifest(configure(tmp_path), {})

    with pytest.raises(kubernetes_validate.ValidationError, match="nodeSelectors"):
        kubernetes_validate.validate(manifest["items"][-1], VERSIONS[0], strict=True)


def test_the_pods_are_the_nodes_and_meet_at_the_first_of_them(tmp_path: Path) -> None:
    configuration = configure(tmp_path, num_nodes=4, devices=8)

    service, job = make_launcher(tmp_path).manifest(configuration, {"DAGSTER_PIPES_CONTEXT": "c"})["items"]

    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert name.startswith("db1-toy-1-")
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 4, 4)
    assert service["metadata"]["name"] == pod["subdomain"] == name
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    expected = {f"--master-addr={name}-0.{name}", "--node-rank=$(JOB_COMPLETION_INDEX)", "--nnodes=4"}
    assert expected | {"--nproc-per-node=8"} <= set(container["command"])
    assert container["command"][0] == "python"
    assert {"name": "DAGSTER_PIPES_CONTEXT", "value": "c"} in container["env"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8", "memory": "256Gi"}
    assert {"name": "data", "mountPath": str(tmp_path)} in container["volumeMounts"]


def test_pods_get_whole_paths_as_they_start_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configuration = configure(Path("data")) | {"start": {"root": "data/checkpoints", "kind": "checkpoint", "name": "a"}}

    make_launcher(tmp_path).manifest(configuration, {})

    written = json.loads((tmp_path / "data/checkpoints/Toy_1.json").read_text())
    assert written["shards"] == str(tmp_path / "data/shards")
    assert written["checkpoints"] == written["start"]["root"] == str(tmp_path / "data/checkpoints")


def test_data_beside_the_volume_are_refused(tmp_path: Path) -> None:
    launcher = make_launcher(tmp_path / "volume")

    with pytest.raises(ValueError, match=r"the data lie in .*/shards; expected a folder below .*/volume.*DB1_DATA"):
        launcher.manifest(configure(tmp_path), {})


def test_without_apply_the_manifest_is_written_down_and_nothing_starts(tmp_path: Path, cluster: Path) -> None:
    launcher = make_launcher(tmp_path, kubectl=kubectl(cluster), apply=False)

    with pytest.raises(RuntimeError, match=r"apply --filename=.*Toy_1\.kubernetes\.json"):
        launcher.train(None, configure(tmp_path), Progress())  # type: ignore[arg-type]

    written = json.loads((tmp_path / "checkpoints/Toy_1.kubernetes.json").read_text())
    assert [item["kind"] for item in written["items"]] == ["Service", "Job"]
    assert not list(cluster.iterdir())


LINES: list[str] = []


class Lines(Progress):
    """Keeps what is told."""

    def say(self, line: str) -> None:
        LINES.append(line)


class Interrupting(Progress):
    """Is interrupted in the middle of the training."""

    def say(self, line: str) -> None:
        if line == "trains":
            raise KeyboardInterrupt


STATES: list[int] = []


class Killing(Lines):
    """Kills the second pod in the middle of the training, once, and keeps the last state of the pods when all ended."""

    cluster: str
    root: str

    def say(self, line: str) -> None:
        super().say(line)
        pod = Path(self.cluster, "pod-1")
        if line.startswith("step 7/") and not STATES:
            os.killpg(int((pod / "pid").read_text()), signal.SIGKILL)
            (pod / "code").write_text("137")
        if ": Failed" in line:
            STATES.append(last_state(Path(self.root)))


def launch(launcher: KubernetesLauncher, root: Path, progress: Progress) -> None:
    @dg.asset
    def trained(context) -> dg.MaterializeResult:
        return launcher.train(context, configure(root), progress)

    dg.materialize([trained])


def stand_for_python(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_job_that_fails_again_and_again_shows_what_its_pods_printed(tmp_path: Path, cluster: Path) -> None:
    LINES.clear()
    python = stand_for_python(tmp_path / "python", "echo out of memory; exit 3")
    launcher = make_launcher(tmp_path, kubectl=kubectl(cluster), python=python, restarts=1, poll_s=0.1)

    with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*out of memory.*out of memory"):
        launch(launcher, tmp_path, Lines())

    assert sum("backoff limit" in line for line in LINES) == calls_of(cluster).count("apply") == 2


def test_last_words_are_told_though_every_connection_that_followed_them_broke(tmp_path: Path, cluster: Path) -> None:
    (cluster / "breaks").touch()
    python = stand_for_python(tmp_path / "python", "sleep 1; echo out of memory; exit 3")
    launcher = make_launcher(tmp_path, kubectl=kubectl(cluster), python=python, restarts=0, poll_s=0.1)

    with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*out of memory"):
        launch(launcher, tmp_path, Lines())


def test_an_interrupted_launcher_deletes_its_job(tmp_path: Path, cluster: Path) -> None:
    python = stand_for_python(tmp_path / "python", "echo trains; exec sleep 600")
    launcher = make_launcher(tmp_path, kubectl=kubectl(cluster), python=python, poll_s=0.1)

    with pytest.raises(KeyboardInterrupt):
        launch(launcher, tmp_path, Interrupting())

    assert calls_of(cluster)[-1] == "delete"
    assert not list(cluster.glob("pod-*"))


def test_a_pod_that_is_killed_restarts_all_which_go_on_and_end_as_an_uninterrupted_training(
    tmp_path: Path, cluster: Path
) -> None:
    LINES.clear()
    STATES.clear()
    alone, pods = tmp_path / "alone", tmp_path / "pods"
    for root in (alone, pods):
        make_shards(root)
    whole = start_asset(alone, TRAINING, {"audit": str(alone / "audit")})
    launcher = make_launcher(
        pods, kubectl=kubectl(cluster), python=sys.executable, poll_s=0.1, port=free_port(), audit=str(pods / "audit")
    )
    resources = {
        "stores": Stores(root=str(pods)),
        "experiment": Experiment(name="toy", training=TRAINING | {"num_nodes": 2}),
        "progress": Killing(cluster=str(cluster), root=str(pods)),
        "launcher": launcher,
    }

    made = dg.materialize([checkpoint], resources=resources)

    output, _ = whole.communicate()
    assert whole.returncode == 0, output
    (event,) = made.asset_materializations_for_node("checkpoint")
    assert event.metadata["world_size"].value == 2
    (state,) = STATES
    assert state in (5, 10, 15)  # how late a line is read depends on the machine
    assert [line for line in LINES if "going on" in line] == [f"going on from step {state}"] * 2, "\n".join(LINES)
    loss, other_steps = differences([alone, pods])
    assert loss <= 1e-5
    assert other_steps == 0
    assert [call for call in calls_of(cluster) if call in ("apply", "delete")] == ["delete", "apply", "delete"] * 2


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
