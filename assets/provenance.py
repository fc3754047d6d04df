from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tasks.processes import read_status

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = (
    *("dagster", "numpy", "torch", "lightning", "tokenizers", "safetensors", "zarr", "numcodecs", "webdataset"),
    *("gymnasium", "ortools", "numba", "minigrid", "mujoco", "dm_control", "metaworld", "stable-baselines3", "cma"),
)
UNKNOWN = "unknown"


@cache
def git_revision(root: Path = _ROOT) -> str:
    """Return the commit of a checkout, with ``-dirty`` where a file differs from it; ``unknown`` outside of one."""
    if not (root / ".git").exists():
        return UNKNOWN
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or UNKNOWN
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that what is made may depend on."""
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def cpu_seconds() -> float:
    """Return the CPU time of this process, of its children that ended, and of all its descendants that live."""
    times = os.times()
    return sum(times[:4]) + sum(map(_cpu_seconds_of, _descendants(os.getpid())))


def _descendants(pid: int) -> Iterator[int]:
    try:
        texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return
    children = [int(one) for text in texts for one in text.split()]
    for child in children:
        yield child
        yield from _descendants(child)


def _cpu_seconds_of(pid: int) -> float:
    try:
        fields = read_status(pid)
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
