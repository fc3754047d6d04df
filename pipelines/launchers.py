from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from assets.resources import Launcher, Progress
from db1_model.rank import LIFELINE
from storage.folder import place_at
from storage.manifest import canonical_json, write_atomically
from tasks.processes import follow

_EXPECTED = {"digest", "step", "loss", "world_size"}
_INTERFACES = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
_TRIES = 30
_AUDIT = Field(default="", description="Folder that gets which sequences each process trains; none when empty.")

LAST_LINES = 60
"""Lines of a training that an error shows."""


class ProcessLauncher(Launcher):
    """Trains on this machine, in as many processes as the training has devices."""

    kind: Literal["local"] = "local"
    audit: str = _AUDIT

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Start the process and wait for it; see ``Launcher``."""
        return _run([[sys.executable, *_training(configuration, self.audit)]], context, configuration, progress)


class AgentLauncher(Launcher):
    """Trains with torchrun, whose agent on each node starts the node's processes and waits for them."""

    port: int = Field(default=29400, description="A free port of the first node.")
    timeout_s: int = Field(
        default=600, description="How long a process waits for the others; the first one may be writing a large state."
    )
    audit: str = _AUDIT

    def agent_command(self, configuration: Mapping[str, Any], address: str, node: str) -> list[str]:
        """Write down what the processes read, and return the command that starts a node's agent.

        Args:
            configuration: What ``db1_model.train`` reads.
            address: Of the first node.
            node: Number of the node, from 0 on.
        """
        training = configuration["training"]
        return [
            *(sys.executable, "-m", "torch.distributed.run", f"--master-addr={address}", f"--master-port={self.port}"),
            *(f"--nnodes={training['num_nodes']}", f"--nproc-per-node={training['devices']}", f"--node-rank={node}"),
            f"--rdzv-conf=timeout={self.timeout_s}",
            *_training({**configuration, "timeout_s": self.timeout_s}, self.audit),
        ]


class TorchrunLauncher(AgentLauncher):
    """Trains with torchrun, on one machine or on many that share a file system.

    The rendezvous is fixed beforehand, and the first prefix is always node 0: with one that the agents agree on by
    themselves, the process of rank 0 may stand under an agent without Dagster's environment, and its report is lost.

    When a process, an agent, a node, the network or this launcher fails, all processes on all nodes end: at once, or
    where nothing but silence tells of it after ``timeout_s``.
    """

    kind: Literal["nodes"] = "nodes"
    prefixes: list[str] = Field(
        default=[""],
        description="What starts a command on each node: '', 'ssh host', 'srun -w host', 'ip netns exec n'.",
    )
    address: str = Field(default="127.0.0.1", description="Address of the first node.")
    interface: str = Field(
        default="",
        description="Network interface of all nodes that Gloo and NCCL take, such as eth0; when empty Gloo takes the "
        "one that leads to the first node, and NCCL chooses by itself.",
    )

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Start an agent on every node and wait for all of them; see ``Launcher``."""
        num_nodes = configuration["training"]["num_nodes"]
        if num_nodes != len(self.prefixes):
            raise ValueError(f"training on {num_nodes} nodes with {len(self.prefixes)} prefixes; expected one a node")
        commands = [self.agent_command(configuration, self.address, str(node)) for node in range(num_nodes)]
        chosen = {name: self.interface for name in _INTERFACES if self.interface}
        return _run(commands, context, configuration, progress, prefixes=self.prefixes, environment=chosen)


def _training(configuration: Mapping[str, Any], audit: str) -> list[str]:
    """Write the configuration down, and return what follows ``python`` in the command that reads it."""
    path = folder_of(configuration) / f"{configuration['checkpoint']}.json"
    write_atomically(path, canonical_json(dict(configuration)))
    return ["-m", "db1_model.train", "--config", str(path), *(["--audit", str(Path(audit).resolve())] if audit else [])]


def folder_of(configuration: Mapping[str, Any]) -> Path:
    """Return the folder of the checkpoint, which all nodes see."""
    folder = place_at(configuration["checkpoints"]).path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(
    commands: Sequence[Sequence[str]],
    context: dg.AssetExecutionContext,
    configuration: Mapping[str, Any],
    progress: Progress,
    *,
    prefixes: Sequence[str] = ("",),
    environment: Mapping[str, str] | None = None,
) -> dg.MaterializeResult:
    with open_reports(context, configuration) as (session, settings):
        settings |= {LIFELINE: "stdin", **(environment or {})}
        told_again = ["env", *(f"{name}={value}" for name, value in settings.items())]  # ssh forwards none of them
        starts = [[*shlex.split(prefix), *told_again] if prefix else [] for prefix in prefixes]
        whole = [[*start, *command] for start, command in zip(starts, commands, strict=True)]
        codes, last_lines = follow(whole, {**os.environ, **settings}, progress.say)
    return take_report(session, codes, last_lines)


@contextmanager
def open_reports(
    context: dg.AssetExecutionContext, configuration: Mapping[str, Any]
) -> Iterator[tuple[dg.PipesSession, dict[str, str]]]:
    """Listen to what the training process reports, through files beside the checkpoint.

    Yields:
        Dagster's session, and the environment variables that the process needs.
    """
    place, prefix = folder_of(configuration), f".{configuration['checkpoint']}-report-"
    for left in place.glob(f"{prefix}*"):  # by a launcher that was killed
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix, dir=place) as folder:
        reports = dg.open_pipes_session(
            context,
            dg.PipesFileContextInjector(f"{folder}/context"),
            dg.PipesFileMessageReader(f"{folder}/messages"),
        )
        with reports as session:
            settings = {
                **session.get_bootstrap_env_vars(),
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": str(configuration["training"]["threads"]),
                "OMP_WAIT_POLICY": "PASSIVE",
            }
            yield session, settings


def wait_for_job(
    look: Callable[[], str],
    finished: Container[str],
    log: Path,
    progress: Progress,
    last_lines: deque[str],
    *,
    poll_s: float,
    see: str,
) -> str:
    """Wait for a cluster's job, and tell what its log gets meanwhile.

    Args:
        look: Returns the job's state; empty when the cluster does not answer.
        finished: States at the end of a job.
        log: What the job prints to.
        progress: Gets the lines.
        last_lines: Keeps the last of them.
        poll_s: Seconds between two looks.
        see: Command that shows the job to people.

    Returns:
        The state at the end.

    Raises:
        RuntimeError: If the cluster does not answer many times in a row.
    """

    def tell(line: str) -> None:
        last_lines.append(line)
        progress.say(line.rstrip())

    state, failures, line = "", 0, ""
    log.touch()
    with log.open(errors="replace") as parts:
        parts.seek(0, os.SEEK_END)
        while state not in finished:
            time.sleep(poll_s)
            state = look()
            failures = 0 if state else failures + 1
            if failures == _TRIES:
                raise RuntimeError(f"the cluster does not tell of the job any more; see: {see}")
            for part in parts:  # of a line that is still being written, what is there
                line += part
                if line.endswith("\n"):
                    tell(line)
                    line = ""
    if line:
        tell(line)
    return state


def take_report(session: dg.PipesSession, codes: Sequence[int], last_lines: Iterable[str]) -> dg.MaterializeResult:
    """Return what a training that has ended reported of its checkpoint.

    Raises:
        RuntimeError: If a process failed, or none reported the checkpoint.
    """
    told = [
        one for one in session.get_results(implicit_materializations=False) if isinstance(one, dg.MaterializeResult)
    ]
    missing = _EXPECTED - {name for one in told for name in one.metadata or {}}
    if any(codes) or missing:
        ended = f"with exit code {', '.join(map(str, codes))}"
        fault = ended if any(codes) else f"without reporting its {', '.join(sorted(missing))}"
        raise RuntimeError(f"training ended {fault}; its last lines:\n" + "".join(last_lines))
    return told[-1]
