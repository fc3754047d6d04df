from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from tasks.workers import BLOCK, NO_LIMIT_BYTES, NO_TIMEOUT_S, Workers

Job = TypeVar("Job")
Result = TypeVar("Result")

RAY_ADDRESS = "DB1_RAY_ADDRESS"
"""Environment variable with the address of a Ray cluster, such as ``10.0.0.1:6379`` or ``auto``; unset, the work stays
on this machine."""


def uses_ray() -> bool:
    """Return whether jobs go to the nodes of a Ray cluster."""
    return bool(os.environ.get(RAY_ADDRESS))


def start_workers(
    function: Callable[[Job], Result],
    *,
    num_processes: int,
    timeout_s: float = NO_TIMEOUT_S,
    memory_bytes: int = NO_LIMIT_BYTES,
    block: int = BLOCK,
) -> Workers[Job, Result]:
    """Return what does jobs: processes of this machine, or of all nodes of the Ray cluster that is set.

    Results and their order are the same. To be closed by ``with``.

    Args:
        function: Does a job; see ``Workers``.
        num_processes: Processes at once on this machine; on a cluster, one for each CPU that its nodes lend.
        timeout_s: See ``Workers``.
        memory_bytes: See ``Workers``.
        block: See ``Workers``.

    Raises:
        ModuleNotFoundError: If a cluster is set, and Ray is not installed.
    """
    limits: dict[str, Any] = {"timeout_s": timeout_s, "memory_bytes": memory_bytes, "block": block}
    if not uses_ray():
        return Workers(function, num_processes=num_processes, **limits)
    try:
        from tasks.ray_workers import RayWorkers  # imports ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{RAY_ADDRESS} is {os.environ[RAY_ADDRESS]!r}, which needs the package {error.name!r}; install it, or "
            f"stay on this machine:\n  pip install -e '.[ray]' -c constraints.txt\n  unset {RAY_ADDRESS}",
            name=error.name,
        ) from error
    return RayWorkers(function, num_processes=num_processes, **limits)
