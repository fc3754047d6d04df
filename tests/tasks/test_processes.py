from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

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
