from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from assets.checkpoint import checkpoint
from assets.resources import Experiment, Progress, Stores
from benchmarks.kills import differences
from benchmarks.nodes import make_shards, start_asset
from pipelines.slurm import SlurmLauncher

DAEMONS = "munged", "slurmctld", "slurmd"
WHY_NOT = "Slurm's daemons need root" if os.geteuid() else ""
WHY_NOT = WHY_NOT or ("" if all(map(shutil.which, DAEMONS)) else "Slurm is missing: apt-get install slurm-wlm munge")
TRAINING = {"steps": 20, "batch_windows": 4, "checkpoint_every": 5, "warmup_steps": 2}
CONFIGURATION = """
ClusterName=db1
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=10
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of Slurm whose one node is this machine."""
    root = tmp_path / "slurm"
    for folder in (root / "state", root / "spool"):
        folder.mkdir(parents=True)
    (root / "slurm.conf").write_text(
        CONFIGURATION.format(root=root, host=socket.gethostname().split(".")[0], ports=free_ports(2))
    )
    (root / "munge.key").write_bytes(os.urandom(1024))
    (root / "munge.key").chmod(0o600)
    monkeypatch.setenv("SLURM_CONF", str(root / "slurm.conf"))
    munge = [f"--{name}={root}/munged.{name}" for name in ("pid-file", "seed-file", "log-file")]
    pid_files = root / "munged.pid-file", root / "slurmctld.pid", root / "slurmd.pid"
    try:
        munge += [f"--socket={root}/munge.socket", f"--key-file={root}/munge.key"]
        subprocess.run(["munged", "--force", *munge], check=True)
        subprocess.run(["slurmctld", "-c"], check=True)
        subprocess.run(["slurmd"], check=True)
        deadline = time.monotonic() + 30
        while "idle" not in (seen := subprocess.run(["sinfo"], capture_output=True, text=True)).stdout:
            assert time.monotonic() < deadline, seen
            time.sleep(0.2)
        yield
    finally:
        subprocess.run(["scancel", "--user=root"], check=False)
        for file in reversed(pid_files):
            if file.exists():
                os.kill(int(file.read_text()), signal.SIGTERM)


LINES: list[str] = []


class Requeuing(Progress):
    """Puts the job back into the queue in the middle of its training."""

    def say(self, line: str) -> None:
        LINES.append(line)
        if line.startswith("step 8/") and not any(line.startswith("going on") for line in LINES):
            job = re.findall(r"Slurm's job (\d+)", LINES[0])
            subprocess.run(["scontrol", "requeue", *job], check=True)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_job_that_is_put_back_into_the_queue_goes_on_and_ends_as_an_uninterrupted_one(
    cluster: None, tmp_path: Path
) -> None:
    LINES.clear()
    alone, queued = tmp_path / "alone", tmp_path / "queued"
    for root in (alone, queued):
        make_shards(root)
    whole = start_asset(alone, TRAINING, {"audit": str(alone / "audit")})
    resources = {
        "stores": Stores(root=str(queued)),
        "experiment": Experiment(name="toy", training=TRAINING),
        "progress": Requeuing(),
        "launcher": SlurmLauncher(poll_s=0.1, port=free_ports(1)[0], audit=str(queued / "audit")),
    }

    made = dg.materialize([checkpoint], resources=resources)

    assert whole.wait() == 0
    (event,) = made.asset_materializations_for_node("checkpoint")
    assert event.metadata["world_size"].value == 1
    assert any(line.startswith("going on from step") for line in LINES), LINES
    assert differences([alone, queued]) == (0, 0)
