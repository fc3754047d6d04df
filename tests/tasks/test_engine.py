from __future__ import annotations

import sys
from collections.abc import Callable
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


def test_a_job_ends_with_the_process_that_waits_for_it(
    pid_file: Path, outlives_its_parent: Callable[[str], bool]
) -> None:
    job = f"open({str(pid_file)!r}, 'w').write(str(__import__('os').getpid())); __import__('time').sleep(60)"

    assert not outlives_its_parent(
        f"from tasks.workers import Workers; list(Workers(exec, num_processes=1).map([{job!r}]))"
    )
