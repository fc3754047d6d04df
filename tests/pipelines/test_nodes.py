from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.attempts import launch_and_kill, run_and_kill
from benchmarks.kills import differences, read_checkpoint
from benchmarks.nodes import make_shards, start_asset, two_nodes, why_no_nodes
from benchmarks.services import supervise

WHY_NOT = why_no_nodes()
TRAINING = {"steps": 20, "batch_windows": 4, "checkpoint_every": 5, "warmup_steps": 2, "num_nodes": 2}


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_two_nodes_of_which_rank_and_launcher_are_killed_train_what_one_process_does(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for root in (alone, together):
        make_shards(root)
    whole = start_asset(alone, {**TRAINING, "num_nodes": 1}, {"audit": str(alone / "audit")})

    with two_nodes() as names:
        rank = run_and_kill(together, names, TRAINING, victim="rank 1", after_steps=7)
        launcher = run_and_kill(together, names, TRAINING, victim="launcher", after_steps=2)
        last = run_and_kill(together, names, TRAINING)

    output, _ = whole.communicate()
    assert whole.returncode == 0, output
    assert (rank.code, launcher.code, last.code) == (1, -9, 0), "".join([*rank.lines, *launcher.lines, *last.lines])
    assert rank.left == launcher.left == last.left == []
    assert 0 < rank.last_state == launcher.went_on_from <= launcher.last_state == last.went_on_from
    assert read_checkpoint(together).metadata["world_size"] == 2
    loss, other_steps = differences([alone, together])
    assert loss <= 1e-5
    assert other_steps == 0


@pytest.mark.slow
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_run_of_the_daemon_whose_process_is_killed_is_tried_again_by_itself(tmp_path: Path) -> None:
    make_shards(tmp_path)

    with two_nodes() as names, supervise(tmp_path / "dagster") as services:
        attempt = launch_and_kill(services, tmp_path, names, TRAINING, victim="run", after_steps=7)

    assert (attempt.code, attempt.num_runs, attempt.left) == (0, 2, []), "".join(attempt.lines)
    assert attempt.last_state >= 5
    assert read_checkpoint(tmp_path).metadata["world_size"] == 2
