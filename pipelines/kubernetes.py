from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from assets.resources import Progress
from pipelines.kubectl import FINISHED, KubectlJob
from pipelines.launchers import LAST_LINES, AgentLauncher, folder_of, open_reports, take_report, wait_for_job
from storage.folder import place_at
from storage.manifest import write_atomically

_KEEP_S = 86_400
_NAME_LETTERS = 40


class KubernetesLauncher(AgentLauncher):
    """Trains in an indexed Job of Kubernetes, a pod a node, with torchrun in each; all see the checkpoint's folder.

    A pod that fails ends the Job with all its pods, and the Job is made anew and goes on from its last state: processes
    that lost one of theirs cannot go on, and a single new pod would meet the remains of the old ones. One Job a
    checkpoint runs at a time: what a launcher that was killed left behind is deleted first.
    """

    kind: Literal["kubernetes"] = "kubernetes"
    image: str = Field(description="Image of the pods, with this repository installed.")
    claim: str = Field(description="Name of the persistent volume claim that the data lie on, ReadWriteMany.")
    mount: str = Field(description="Path of the claim's volume in the pods, and on this machine.")
    resources: dict[str, str] = Field(
        default={}, description="What each pod needs: {'nvidia.com/gpu': '8', 'cpu': '32', 'memory': '256Gi'}."
    )
    pod: dict[str, Any] = Field(
        default={}, description="More fields of the pods' specification: nodeSelector, tolerations, imagePullSecrets."
    )
    kubectl: str = Field(default="kubectl", description="The command, with its options: kubectl --namespace=ml.")
    python: str = Field(default="python", description="The image's Python.")
    restarts: int = Field(default=3, description="How often a Job that failed is made anew.")
    apply: bool = Field(default=True, description="Whether the Job runs, or its manifest is written down and no more.")
    poll_s: float = Field(default=5.0, description="Seconds between two looks at the Job.")

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Make the Job, tell what its pods print, wait for it, and delete it; see ``Launcher``."""
        if not self.apply:
            raise RuntimeError(f"nothing was started, as `apply` is false; {self._write_down(configuration)}")
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        state = ""
        with open_reports(context, configuration) as (session, settings):
            job = KubectlJob(
                shlex.split(self.kubectl),
                self.manifest(configuration, settings),
                folder_of(configuration) / f"{configuration['checkpoint']}.log",
                progress.say,
            )
            for _ in range(1 + self.restarts):
                with job:
                    state = wait_for_job(
                        job.look, FINISHED, job.log, progress, last_lines, poll_s=self.poll_s, see=job.see
                    )
                if state == "Complete":
                    break
        return take_report(session, [int(state != "Complete")], last_lines)

    def manifest(self, configuration: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
        """Return the Job and the Service by which its pods find the first one, as a List for ``kubectl apply``.

        Args:
            configuration: What ``db1_model.train`` reads.
            settings: Environment variables of the processes.

        Raises:
            ValueError: If the data do not lie on the volume.
        """
        name, located = name_job(configuration), self._locate(configuration)
        labels = {"app.kubernetes.io/name": "db1", "app.kubernetes.io/instance": name}
        named = {"metadata": {"name": name, "labels": labels}}
        service = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels}
        num_nodes = configuration["training"]["num_nodes"]
        job = {
            "completionMode": "Indexed",
            "completions": num_nodes,
            "parallelism": num_nodes,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEEP_S,
            "template": {"metadata": {"labels": labels}, "spec": self._pod(located, settings, name)},
        }
        return {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "Service", **named, "spec": service},
                {"apiVersion": "batch/v1", "kind": "Job", **named, "spec": job},
            ],
        }

    def _locate(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration for processes that start in another folder and see the volume alone."""
        located = {**configuration, **{key: self._place(configuration[key]) for key in ("shards", "checkpoints")}}
        if start := configuration.get("start"):
            located["start"] = {**start, "root": self._place(start["root"])}
        return located

    def _place(self, root: str) -> str:
        place = place_at(root)
        path = place.path.resolve()  # of an object store: where training states lie
        if not path.is_relative_to(Path(self.mount).resolve()):
            raise ValueError(
                f"the data lie in {path}; expected a folder below {self.mount}, where the claim {self.claim!r} is "
                f"mounted here and in the pods: set {'DB1_CACHE' if place.is_remote else 'DB1_DATA'}, or `mount`"
            )
        return root if place.is_remote else str(path)

    def _pod(self, configuration: Mapping[str, Any], settings: Mapping[str, str], name: str) -> dict[str, Any]:
        agent = self.agent_command(configuration, f"{name}-0.{name}", "$(JOB_COMPLETION_INDEX)")
        own = {key: value for key, value in os.environ.items() if key.startswith("DB1_") and key != "DB1_LAUNCHER"}
        container = {
            "name": "training",
            "image": self.image,
            "command": [self.python, *agent[1:]],
            "env": [{"name": key, "value": value} for key, value in {"HOME": "/tmp", **own, **settings}.items()],
            "resources": {"requests": self.resources, "limits": self.resources},
            "volumeMounts": [
                {"name": "data", "mountPath": str(Path(self.mount).resolve())},
                {"name": "shared-memory", "mountPath": "/dev/shm"},
            ],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        user = {"runAsUser": os.getuid(), "runAsGroup": os.getgid(), "runAsNonRoot": os.getuid() != 0}
        return {
            "subdomain": name,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": self.claim}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            ],
            **self.pod,
        }

    def _write_down(self, configuration: Mapping[str, Any]) -> str:
        path = folder_of(configuration) / f"{configuration['checkpoint']}.kubernetes.json"
        write_atomically(path, json.dumps(self.manifest(configuration, {}), indent=1).encode())
        return f"start it with:\n  {self.kubectl} apply --filename={path}"


def name_job(configuration: Mapping[str, Any]) -> str:
    """Return the name of a checkpoint's Job and Service: the same for each of its trainings."""
    checkpoint = configuration["checkpoint"]
    readable = re.sub(r"[^a-z0-9]+", "-", checkpoint.lower())[:_NAME_LETTERS].strip("-")
    digest = hashlib.sha256(str(folder_of(configuration) / checkpoint).encode()).hexdigest()
    return f"db1-{readable}-{digest[:8]}"
