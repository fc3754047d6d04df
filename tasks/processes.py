from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_LAST_LINES = 60
_GRACE_S = 10.0
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>


def follow(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[list[int], Sequence[str]]:
    """Start processes and wait for them; when this one is interrupted or killed, they end too.

    They also end together: when one fails, the others get SIGTERM, and SIGKILL ten seconds later. Standard input of
    each is a pipe that nobody writes to and that closes then, or when this process is killed: what it started
    elsewhere, as with ``ssh``, sees the end of the file and can end itself.

    Args:
        commands: What to start.
        environment: Their environment variables.
        tell: Called with every line that they print.

    Returns:
        Their exit codes, and the last lines.
    """
    read_end, write_end = os.pipe()
    nodes: list[subprocess.Popen[bytes]] = []
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)
    with os.fdopen(read_end, errors="replace") as lines:
        try:
            with os.fdopen(write_end, "wb") as output:
                nodes += [_start(command, environment, output) for command in commands]
            together = threading.Thread(target=_end_together, args=(nodes,), daemon=True)
            together.start()
            for line in lines:
                last_lines.append(line)
                tell(line.rstrip())
            together.join()
            return [node.wait() for node in nodes], last_lines
        finally:
            _end(nodes)


def _start(command: Sequence[str], environment: Mapping[str, str], output: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the others
        preexec_fn=die_with_parent,
    )


def _end_together(nodes: Sequence[subprocess.Popen[bytes]]) -> None:
    codes: list[int | None] = [None]
    while None in codes and not any(codes):
        time.sleep(0.1)
        codes = [node.poll() for node in nodes]
    _end(nodes)


def _end(nodes: Sequence[subprocess.Popen[bytes]]) -> None:
    for node in nodes:
        if node.poll() is None:
            node.terminate()
    deadline = time.monotonic() + _GRACE_S
    while any(node.poll() is None for node in nodes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for node in nodes:
        if node.stdin is not None:
            node.stdin.close()
        node.kill()
        node.wait()


def die_with_parent() -> None:
    """Be killed when the parent is, so that no process goes on training beside the next run."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def read_status(pid: int) -> list[str]:
    """Return what the kernel tells of a process of this machine, from the third field of proc_pid_stat(5) on.

    Raises:
        OSError: If there is no such process.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
