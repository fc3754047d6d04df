from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.nodes import ADDRESSES
from benchmarks.ray_nodes import (
    STAGES,
    TINY,
    copy_inputs,
    digests,
    make_stage,
    ray_nodes,
    seconds_until_idle,
    start_node,
    why_no_ray,
)

WHY_NOT = why_no_ray()


@pytest.mark.slow
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_two_ray_nodes_of_which_one_is_killed_make_what_one_machine_does(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert make_stage(",".join(STAGES), alone).code == 0
    copy_inputs(alone, together)
    num_tasks = len(TINY.task_ids)

    with ray_nodes() as names:
        episodes = make_stage("trajectories", together, names, victim="node", after=num_tasks // 2)
        start_node(names, 1)
        tokens = make_stage("tokens", together, names)
        stopped = make_stage("evaluation", together, names, victim="driver", after=2)
        idle_s = seconds_until_idle(names)
        played = make_stage("evaluation", together, names, victim="node", after=2)

    for made in (episodes, tokens, played):
        assert made.code == 0, "".join(made.lines)
    assert set(episodes.jobs) == set(tokens.jobs) == set(ADDRESSES)
    assert episodes.num_lost >= 1
    assert played.num_lost >= 1
    assert stopped.code == -9
    assert idle_s < 30
    assert 0 < played.num_tasks <= num_tasks - 2
    assert digests(alone) == digests(together)
