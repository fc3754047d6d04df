from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.resources import Launcher, Progress
from storage.folder import place_at
from storage.manifest import canonical_json, write_atomically
from tasks.processes import follow

_EXPECTED = {"digest", "step", "loss", "world_size"}


class ProcessLauncher(Launcher):
    """Trains in one process on this machine."""

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Start the process and wait for it; see ``Launcher``."""
        command = [sys.executable, "-m", "db1_model.train", "--config", str(_write(configuration))]
        return _run([command], context, configuration, progress)


class TorchrunLauncher(Launcher):
    """Trains with torchrun, on one machine or on many that share a file system.

    The rendezvous is fixed beforehand, and the first prefix is always node 0: with one that the agents agree on by
    themselves, the process of rank 0 may stand under an agent without Dagster's environment, and its report is lost.
    """

    prefixes: list[str] = Field(
        default=[""],
        description="What starts a command on each node: '', 'ssh host', 'srun -w host', 'ip netns exec n'.",
    )
    address: str = Field(default="127.0.0.1", description="Address of the first node.")
    port: int = Field(default=29400, description="A free port of the first node.")

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Start an agent on every node and wait for all of them; see ``Launcher``."""
        num_nodes, devices = configuration["training"]["num_nodes"], configuration["training"]["devices"]
        if num_nodes != len(self.prefixes):
            raise ValueError(f"training on {num_nodes} nodes with {len(self.prefixes)} prefixes; expected one a node")
        path = str(_write(configuration))
        rendezvous = [f"--master-addr={self.address}", f"--master-port={self.port}", f"--nnodes={num_nodes}"]
        commands = [
            [
                *shlex.split(prefix),
                *(sys.executable, "-m", "torch.distributed.run", *rendezvous),
                *(f"--node-rank={node}", f"--nproc-per-node={devices}", "-m", "db1_model.train", "--config", path),
            ]
            for node, prefix in enumerate(self.prefixes)
        ]
        return _run(commands, context, configuration, progress)


def _write(configuration: Mapping[str, Any]) -> Path:
    folder = place_at(configuration["checkpoints"]).path.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{configuration['checkpoint']}.json"
    write_atomically(path, canonical_json(dict(configuration)))
    return path


def _run(
    commands: Sequence[Sequence[str]],
    context: dg.AssetExecutionContext,
    configuration: Mapping[str, Any],
    progress: Progress,
) -> dg.MaterializeResult:
    reports = dg.open_pipes_session(context, dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader())
    with reports as session:
        environment = {
            **os.environ,
            **session.get_bootstrap_env_vars(),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(configuration["training"]["threads"]),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        codes, last_lines = follow(commands, environment, progress.say)
    told = [
        one for one in session.get_results(implicit_materializations=False) if isinstance(one, dg.MaterializeResult)
    ]
    missing = _EXPECTED - {name for one in told for name in one.metadata or {}}
    if any(codes) or missing:
        fault = f"with exit code {codes[0]}" if any(codes) else f"without reporting its {', '.join(sorted(missing))}"
        raise RuntimeError(f"training ended {fault}; its last lines:\n" + "".join(last_lines))
    return told[0]
