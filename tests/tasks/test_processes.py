from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks import processes
from tasks.processes import follow


def test_every_line_is_told_and_every_exit_code_returned() -> None:
    told: list[str] = []
    commands = [[sys.executable, "-c", f"print('line {number}'); raise SystemExit({number})"] for number in (0, 3)]

    codes, last_lines = follow(commands, os.environ, told.append)

    assert codes == [0, 3]
    assert sorted(told) == sorted(line.rstrip() for line in last_lines) == ["line 0", "line 3"]


def test_a_followed_process_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import sys; from tasks.processes import follow; follow([[sys.executable, '-c', {child!r}]], {{}}, print)"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=Path(__file__).parents[2]) as process:
        while not (pid_file.exists() and pid_file.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()

    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid_file.read_text()}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid_file.read_text()}").exists()


def test_when_one_process_fails_the_others_end_and_what_they_left_behind_sees_the_end_of_its_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_GRACE_S", 0.5)
    told: list[str] = []
    left = "import os; os.read(0, 1); print('end of input')"
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"subprocess.Popen([sys.executable, '-c', {left!r}], start_new_session=True); time.sleep(600)"
    )
    fails = "import time; time.sleep(2); raise SystemExit(3)"

    codes, _ = follow([[sys.executable, "-c", code] for code in (stubborn, fails)], os.environ, told.append)

    assert codes == [-9, 3]
    assert told == ["end of input"]
