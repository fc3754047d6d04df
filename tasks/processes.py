from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_LAST_LINES = 30
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>


def follow(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[list[int], Sequence[str]]:
    """Start processes and wait for them; when this one is interrupted or killed, they end too.

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
            for line in lines:
                last_lines.append(line)
                tell(line.rstrip())
            return [node.wait() for node in nodes], last_lines
        finally:
            for node in nodes:
                if node.poll() is None:
                    node.terminate()
                    node.wait()


def _start(command: Sequence[str], environment: Mapping[str, str], output: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the others
        preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    """Be killed when the parent is, so that no process goes on training beside the next run."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
