from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    """Where a child writes its process id."""
    return tmp_path / "pid"


@pytest.fixture
def outlives_its_parent(pid_file: Path) -> Callable[[str], bool]:
    """Runs code that starts a child, kills it when the child has told its id, and returns whether that lives on."""

    def outlives_its_parent(code: str) -> bool:
        with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2]) as parent:
            while not (pid_file.exists() and pid_file.read_text()):
                assert parent.poll() is None
                time.sleep(0.05)
            parent.kill()
        child, deadline = Path(f"/proc/{pid_file.read_text()}"), time.monotonic() + 10
        while child.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return child.exists()

    return outlives_its_parent
