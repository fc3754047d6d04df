from __future__ import annotations

import json
import math
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FINISHED = {"Complete", "Failed"}
"""States at the end of a Job."""

_DELETE_S = 120
_LAST_WORDS_S, _TRIES = 10, 3


class KubectlJob:
    """A Job of Kubernetes and its Service, from ``kubectl apply`` to ``kubectl delete``.

    It is a context that may be entered again. As it begins, what is left of the same name is deleted with its pods; as
    it ends, all is.

    Args:
        kubectl: The command.
        manifest: A List of the Service and the Job, of one name; the pods' label ``app.kubernetes.io/instance`` has it.
        log: Gets what the pods print.
        tell: Gets what becomes of the Job.
    """

    def __init__(
        self, kubectl: Sequence[str], manifest: Mapping[str, Any], log: Path, tell: Callable[[str], None]
    ) -> None:
        job = manifest["items"][-1]
        self.log = log
        self._kubectl, self._manifest, self._tell = kubectl, manifest, tell
        self._name, self._num_pods = job["metadata"]["name"], job["spec"]["completions"]
        self._ready = 0
        self._logs: subprocess.Popen[bytes] | None = None

    @property
    def see(self) -> str:
        """The command that shows the Job."""
        return shlex.join([*self._kubectl, "describe", f"job/{self._name}"])

    def __enter__(self) -> KubectlJob:
        """Make the Job.

        Raises:
            RuntimeError: If kubectl refuses.
        """
        self._delete(f"--timeout={_DELETE_S}s")
        self._ready, self._logs = 0, None
        self.log.touch()
        self._begin, self._looked = self.log.stat().st_size, time.monotonic()
        self._require("apply", "--filename=-", text=json.dumps(self._manifest))
        self._tell(f"Kubernetes' job/{self._name}; its pods print to {self.log}")
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the Job with its pods."""
        if self._logs is not None:
            self._logs.kill()
            self._logs.wait()
        self._delete("--wait=false")

    def look(self) -> str:
        """Return the Job's state, empty when the cluster does not answer; see that the log gets what the pods print."""
        shown = self._run("get", f"job/{self._name}", "--output=json")
        if shown.returncode:
            return ""
        status = json.loads(shown.stdout).get("status", {})
        for condition in status.get("conditions", []):
            if condition["type"] in FINISHED and condition["status"] == "True":
                self._copy_last_words()
                self._tell(f"job/{self._name}: {condition['type']} {condition.get('message', '')}".strip())
                return condition["type"]
        if (ready := status.get("ready", 0)) != self._ready:
            self._tell(f"{ready} of {self._num_pods} pods are ready")
            self._ready = ready
        if ready == self._num_pods and (self._logs is None or self._logs.poll() is not None):
            self._logs = self._follow_logs("--follow")
        self._looked = time.monotonic()
        return "Running"

    def _copy_last_words(self) -> None:
        for _ in range(_TRIES):
            if self._logs is None or self._logs.poll():  # the connection broke, and nobody has looked since
                self._logs = self._follow_logs()
            try:
                if self._logs.wait(_LAST_WORDS_S) == 0:
                    return
            except subprocess.TimeoutExpired:
                break
        self._tell(f"kubectl could not read to their end what the pods of job/{self._name} print")

    def _follow_logs(self, *options: str) -> subprocess.Popen[bytes]:
        """Append what the pods print to the log; after a connection that broke, from about there on."""
        since = f"--since={math.ceil(time.monotonic() - self._looked)}s"
        options = (*options, since) if self.log.stat().st_size > self._begin else options
        pods = f"--selector=app.kubernetes.io/instance={self._name}"
        with self.log.open("ab") as log:
            command = [*self._kubectl, "logs", pods, "--tail=-1", f"--max-log-requests={self._num_pods}", *options]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.DEVNULL)

    def _delete(self, wait: str) -> None:
        both = f"job/{self._name}", f"service/{self._name}"
        self._require("delete", *both, "--ignore-not-found", "--cascade=foreground", wait)

    def _require(self, *arguments: str, text: str = "") -> None:
        if (done := self._run(*arguments, text=text)).returncode:
            command = shlex.join([*self._kubectl, *arguments])
            raise RuntimeError(f"kubectl failed: {(done.stderr or done.stdout).strip()}; it was\n  {command}")

    def _run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._kubectl, *arguments], input=text, capture_output=True, text=True)
