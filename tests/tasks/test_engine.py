from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.engine import RAY_ADDRESS, start_workers


def test_jobs_stay_on_this_machine_and_their_results_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RAY_ADDRESS, raising=False)
    with start_workers(abs, num_processes=2, block=1) as workers:
        assert list(workers.map(range(-5, 0))) == [5, 4, 3, 2, 1]
        assert workers.describe() == "2 processes of this machine"


def test_a_cluster_without_ray_is_answered_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RAY_ADDRESS, "auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "tasks.ray_workers", raising=False)

    with pytest.raises(ModuleNotFoundError, match=rf"(?s){RAY_ADDRESS} is 'auto'.*pip install -e '.\[ray\]'"):
        start_workers(abs, num_processes=2)


def test_a_job_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job = f"open({str(pid_file)!r}, 'w').write(str(__import__('os').getpid())); __import__('time').sleep(60)"
    waits = f"from tasks.workers import Workers; list(Workers(exec, num_processes=1).map([{job!r}]))"
    with subprocess.Popen([sys.executable, "-c", waits], cwd=Path(__file__).parents[2], env=os.environ) as process:
        while not (pid_file.exists() and pid_file.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()

    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid_file.read_text()}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
