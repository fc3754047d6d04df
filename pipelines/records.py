from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.config import DAGSTER_CONFIG_YAML_FILENAME
from dagster._core.instance.ref import InstanceRef


def records_home() -> Path:
    """Return the folder of the ``dagster.yaml`` that says where Dagster's records are.

    It is ``DAGSTER_HOME`` where that is set, and the folder in which the command was started otherwise.

    Raises:
        FileNotFoundError: If there is none.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    home = Path(chosen or Path.cwd())
    if not (home / DAGSTER_CONFIG_YAML_FILENAME).is_file():
        mend = "unset DAGSTER_HOME" if chosen else f"cd {Path(__file__).resolve().parents[1]}"
        raise FileNotFoundError(f"there is no {DAGSTER_CONFIG_YAML_FILENAME} in {home}; expected one:\n  {mend}")
    return home


def open_records(overrides: Mapping[str, Any] | None = None) -> dg.DagsterInstance:
    """Open Dagster's records; leaving a ``with`` closes them.

    Args:
        overrides: Settings that take the place of those in ``dagster.yaml``.

    Raises:
        FileNotFoundError: If there are none.
    """
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(records_home()), overrides=overrides))
