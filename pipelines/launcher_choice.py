from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, ValidationError

from assets.resources import Launcher, Progress
from pipelines.kubernetes import KubernetesLauncher
from pipelines.launchers import ProcessLauncher, TorchrunLauncher
from pipelines.slurm import SlurmLauncher

VARIABLE = "DB1_LAUNCHER"
"""Environment variable; JSON text, or the path of a JSON file, that says how training is started."""

KINDS: Mapping[str, type[Launcher]] = {
    "local": ProcessLauncher,
    "nodes": TorchrunLauncher,
    "slurm": SlurmLauncher,
    "kubernetes": KubernetesLauncher,
}


class ChosenLauncher(Launcher):
    """Starts the training process by one of the launchers, which the environment or a run's configuration chooses."""

    by: ProcessLauncher | TorchrunLauncher | SlurmLauncher | KubernetesLauncher = Field(
        default=ProcessLauncher(), discriminator="kind", description=f"The launcher; {VARIABLE} is its default."
    )

    @classmethod
    def from_environment(cls) -> ChosenLauncher:
        """Read the environment variable ``DB1_LAUNCHER``; without it training runs on this machine.

        Raises:
            ValueError: If it names no launcher, or a field that the launcher has not.
            FileNotFoundError: If it is neither JSON nor the path of a file.
        """
        if not (value := os.environ.get(VARIABLE)):
            return cls()
        return cls(by=read_launcher(value))  # type: ignore[arg-type]

    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Let the chosen launcher train; see ``Launcher``."""
        return self.by.train(context, configuration, progress)


def read_launcher(value: str) -> Launcher:
    """Make the launcher that JSON describes: its ``kind``, and those of its fields that differ from the defaults.

    Args:
        value: JSON text, or the path of a file with it.

    Raises:
        ValueError: If it describes no launcher.
        FileNotFoundError: If it is neither JSON nor the path of a file.
    """
    is_text = value.lstrip().startswith("{")
    if not is_text and not Path(value).is_file():
        raise FileNotFoundError(
            f"{VARIABLE} is {value!r}, and no such file; expected one, or JSON, {_such_as('slurm')}"
        )
    source = VARIABLE if is_text else f"{value}, which {VARIABLE} names,"
    try:
        fields = json.loads(value if is_text else Path(value).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{VARIABLE} is {value!r}, and no JSON: {error}; expected it, {_such_as('slurm')}") from None
    kind = fields.pop("kind", None) if isinstance(fields, dict) else fields
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{source} has the kind {kind!r}; expected one of {', '.join(KINDS)}, {_such_as('slurm')}")
    launcher = KINDS[kind]
    expected = [name for name in launcher.model_fields if name != "kind"]
    if unknown := sorted(set(fields) - set(expected)):
        raise ValueError(
            f"{source} has the field {unknown[0]!r}; expected, for kind {kind!r}, some of {', '.join(expected)}, "
            f"{_such_as(kind)}"
        )
    required = (name for name, field in launcher.model_fields.items() if field.is_required())
    if missing := [name for name in required if name not in fields]:
        raise ValueError(
            f"{source} lacks {', '.join(missing)}; expected, for kind {kind!r}, a value of each, {_such_as(kind)}"
        )
    try:
        return launcher(**fields)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc']))} is {one['input']!r}: {one['msg']}" for one in error.errors()
        )
        raise ValueError(
            f"{source} does not describe a launcher of kind {kind!r}: {faults}, {_such_as(kind)}"
        ) from None


def _such_as(kind: str) -> str:
    return f"such as\n  export {VARIABLE}='{_EXAMPLES[kind]}'"


_EXAMPLES = {
    "local": '{"kind": "local"}',
    "nodes": '{"kind": "nodes", "prefixes": ["", "ssh b"], "address": "10.0.0.1"}',
    "slurm": '{"kind": "slurm", "options": ["--partition=gpu"]}',
    "kubernetes": '{"kind": "kubernetes", "image": "db1:1", "claim": "data", "mount": "/data"}',
}
