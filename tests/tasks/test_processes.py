from __future__ import annotations

import os
import sys
from collections.abc import Callable
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


def test_a_followed_process_dies_with_the_one_that_started_it(
    pid_file: Path, outlives_its_parent: Callable[[str], bool]
) -> None:
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    assert not outlives_its_parent(
        f"import sys; from tasks.processes import follow; follow([[sys.executable, '-c', {child!r}]], {{}}, print)"
    )


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
