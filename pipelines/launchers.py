from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from pydantic import Field

from assets.resources import Launcher, Progress
from db1_model.rank import LIFELINE
from storage.folder import place_at
from storage.manifest import canonical_json, write_atomically
from tasks.processes import follow

_EXPECTED = {"digest", "step", "loss", "world_size"}
_INTERFACES = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
_AUDIT = Field(default="", description="Folder that gets which sequences each process trains; none when empty.")


class ProcessLauncher(Launcher):
    """Trains in one process on this machine."""

    audit: str = _AUDIT

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Start the process and wait for it; see ``Launcher``."""
        return _run([[sys.executable, *_training(configuration, self.audit)]], context, configuration, progress)


class TorchrunLauncher(Launcher):
    """Trains with torchrun, on one machine or on many that share a file system.

    The rendezvous is fixed beforehand, and the first prefix is always node 0: with one that the agents agree on by
    themselves, the process of rank 0 may stand under an agent without Dagster's environment, and its report is lost.

    When a process, an agent, a node, the network or this launcher fails, all processes on all nodes end: at once, or
    where nothing but silence tells of it after ``timeout_s``.
    """

    prefixes: list[str] = Field(
        default=[""],
        description="What starts a command on each node: '', 'ssh host', 'srun -w host', 'ip netns exec n'.",
    )
    address: str = Field(default="127.0.0.1", description="Address of the first node.")
    port: int = Field(default=29400, description="A free port of the first node.")
    interface: str = Field(
        default="",
        description="Network interface of all nodes that Gloo and NCCL take, such as eth0; when empty Gloo takes the "
        "one that leads to the first node, and NCCL chooses by itself.",
    )
    timeout_s: int = Field(
        default=600, description="How long a process waits for the others; the first one may be writing a large state."
    )
    audit: str = _AUDIT

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Start an agent on every node and wait for all of them; see ``Launcher``."""
        num_nodes, devices = configuration["training"]["num_nodes"], configuration["training"]["devices"]
        if num_nodes != len(self.prefixes):
            raise ValueError(f"training on {num_nodes} nodes with {len(self.prefixes)} prefixes; expected one a node")
        rendezvous = [
            *(f"--master-addr={self.address}", f"--master-port={self.port}", f"--nnodes={num_nodes}"),
            *(f"--nproc-per-node={devices}", f"--rdzv-conf=timeout={self.timeout_s}"),
        ]
        training = _training({**configuration, "timeout_s": self.timeout_s}, self.audit)
        commands = [
            [sys.executable, "-m", "torch.distributed.run", *rendezvous, f"--node-rank={node}", *training]
            for node in range(num_nodes)
        ]
        chosen = {name: self.interface for name in _INTERFACES if self.interface}
        return _run(commands, context, configuration, progress, prefixes=self.prefixes, environment=chosen)


def _training(configuration: Mapping[str, Any], audit: str) -> list[str]:
    """Write the configuration down, and return what follows ``python`` in the command that reads it."""
    path = _folder(configuration) / f"{configuration['checkpoint']}.json"
    write_atomically(path, canonical_json(dict(configuration)))
    return ["-m", "db1_model.train", "--config", str(path), *(["--audit", str(Path(audit).resolve())] if audit else [])]


def _folder(configuration: Mapping[str, Any]) -> Path:
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
    """Run a command on each node; the reports go through files beside the checkpoint, which all nodes see."""
    place, prefix = _folder(configuration), f".{configuration['checkpoint']}-report-"
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
                LIFELINE: "stdin",
                **(environment or {}),
            }
            told_again = ["env", *(f"{name}={value}" for name, value in settings.items())]  # ssh forwards none of them
            starts = [[*shlex.split(prefix), *told_again] if prefix else [] for prefix in prefixes]
            whole = [[*start, *command] for start, command in zip(starts, commands, strict=True)]
            codes, last_lines = follow(whole, {**os.environ, **settings}, progress.say)
    told = [
        one for one in session.get_results(implicit_materializations=False) if isinstance(one, dg.MaterializeResult)
    ]
    missing = _EXPECTED - {name for one in told for name in one.metadata or {}}
    if any(codes) or missing:
        ended = f"with exit code {', '.join(map(str, codes))}"
        fault = ended if any(codes) else f"without reporting its {', '.join(sorted(missing))}"
        raise RuntimeError(f"training ended {fault}; its last lines:\n" + "".join(last_lines))
    return told[0]
