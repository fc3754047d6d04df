from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from assets.resources import Progress
from pipelines.launchers import LAST_LINES, AgentLauncher, folder_of, open_reports, take_report, wait_for_job

_FINISHED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


class SlurmLauncher(AgentLauncher):
    """Trains in a job of Slurm, with torchrun on each of its nodes; all see the checkpoint's folder.

    A job that Slurm puts back into the queue, as for a node that failed or a job that goes first, goes on from its last
    state. One job a checkpoint runs at a time: after a launcher that was killed, the next job waits for the first.
    """

    kind: Literal["slurm"] = "slurm"
    options: list[str] = Field(
        default=[], description="More options of sbatch: --partition=gpu, --gpus-per-node=8, --time=1-0."
    )
    poll_s: float = Field(default=5.0, description="Seconds between two looks at the job.")

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Submit a job, tell what it prints, and wait for it; see ``Launcher``."""
        log = folder_of(configuration) / f"{configuration['checkpoint']}.log"
        log.touch()
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        with open_reports(context, configuration) as (session, settings):
            job, state = self._submit(configuration, settings, log), ""
            progress.say(f"Slurm's job {job}; it prints to {log}")
            try:
                state = wait_for_job(
                    partial(_state_of, job),
                    _FINISHED,
                    log,
                    progress,
                    last_lines,
                    poll_s=self.poll_s,
                    see=f"scontrol show job {job}",
                )
            finally:
                if not state:
                    subprocess.run(["scancel", job], check=False)
        if state != "COMPLETED":
            last_lines.append(f"Slurm's job {job} ended as {state}")
        return take_report(session, [int(state != "COMPLETED")], last_lines)

    def _submit(self, configuration: Mapping[str, Any], settings: Mapping[str, str], log: Path) -> str:
        agent = self.agent_command(configuration, "$DB1_FIRST_NODE", "$SLURM_NODEID")
        on_each = " ".join(part if "$" in part else shlex.quote(part) for part in ("exec", *agent))
        script = (
            "#!/bin/sh\n"
            'export DB1_FIRST_NODE="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"\n'
            f"exec srun --kill-on-bad-exit=1 sh -c {shlex.quote(on_each)}\n"
        )
        command = [
            *("sbatch", "--parsable", "--requeue", "--open-mode=append", f"--output={log}"),
            *(f"--nodes={configuration['training']['num_nodes']}", "--ntasks-per-node=1", "--dependency=singleton"),
            *(f"--job-name=db1-{log.parent}/{configuration['checkpoint']}", *self.options),
        ]
        sent = subprocess.run(command, input=script, env={**os.environ, **settings}, capture_output=True, text=True)
        if sent.returncode:
            raise RuntimeError(f"sbatch refused the job: {sent.stderr.strip()}; it was\n  {shlex.join(command)}")
        return sent.stdout.strip().split(";")[0]


def _state_of(job: str) -> str:
    """Return a job's state; empty when Slurm does not answer."""
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True)
    found = re.search(r" JobState=(\w+)", shown.stdout)
    return found[1] if found else ""
