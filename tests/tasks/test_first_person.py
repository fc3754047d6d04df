from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

pytest.importorskip("vizdoom", reason="needs the extra first_person")

from tasks.first_person.environment import FirstPersonEnvironment, shrink
from tasks.first_person.floor_plan import FloorPlan
from tasks.first_person.instances import SCENARIOS
from tasks.first_person.sight import Wall
from tasks.task import Policy


def _play(name: str, policy: Policy, seeds: Sequence[int]) -> list[Episode]:
    return list(roll_out(get_task(f"first_person/{name}"), policy, seeds, num_slots=1))


def _expert(name: str) -> ExpertPolicy:
    return ExpertPolicy(get_task(f"first_person/{name}").make_expert)


def test_a_return_is_the_prize_less_the_bullets_and_the_tics() -> None:
    # basic pays 106 for the monster, takes 5 a bullet and 1 a tic; here one bullet hits.
    (episode,) = _play("basic", _expert("basic"), [1])

    tics = -np.sum(episode.rewards) + 106 - 5
    assert episode.terminated
    assert 4 * (len(episode) - 1) < tics <= 4 * len(episode)
    assert episode.observations["bar"][0] == pytest.approx([50 / 50 - 1])


def test_a_screen_is_halved_by_means_and_loses_a_tenth_above_and_below() -> None:
    screen = np.zeros((120, 160, 3), dtype=np.uint8)
    screen[12, 0:2], screen[13, 0:2] = 100, 50
    screen[11], screen[108] = 255, 255

    small = shrink(screen)

    assert small.shape == (48, 80, 3)
    assert small[0, 0].tolist() == [75, 75, 75]
    assert small.sum() == 3 * 75
    with pytest.raises(ValueError, match=r"shape \(240, 320, 3\); expected \(120, 160, 3\)"):
        shrink(np.zeros((240, 320, 3), dtype=np.uint8))


def test_ways_lead_around_a_wall() -> None:
    # A room of 320 x 320 with a wall from the left to the middle of the right half: the way must go around its end.
    corners = [(0.0, 0.0), (320.0, 0.0), (320.0, 320.0), (0.0, 320.0)]
    walls = [Wall(*start, *end) for start, end in zip(corners, corners[1:] + corners[:1], strict=True)]
    inside, outside = (
        FloorPlan(plan).measure(48.0, 48.0) for plan in ([*walls, Wall(0.0, 160.0, 240.0, 160.0)], walls)
    )

    assert outside[8, 1] == pytest.approx(7 * 32.0)
    assert inside[8, 1] > 2 * 240.0 - 64.0
    assert np.isinf(FloorPlan([*walls, Wall(0.0, 160.0, 320.0, 160.0)]).measure(48.0, 48.0)[8, 1])


def test_a_rocket_meets_a_monster_that_goes_straight() -> None:
    (episode,) = _play("predict", _expert("predict"), [1_000_000])

    assert episode.rewards[-1] > 0.9


@pytest.mark.parametrize("name", ["health-maze", "deathmatch", "predict", "corridor-5"])
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(name: str) -> None:
    first, again = (_play(name, RandomPolicy(), seeds)[-1] for seeds in ([9], [4, 5, 9]))
    (other,) = _play(name, RandomPolicy(), [4])

    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)
    for key, seen in first.observations.items():
        np.testing.assert_array_equal(seen, again.observations[key])
    assert first.observations["image"].std() > 5.0
    assert not np.array_equal(first.observations["image"][:9], other.observations["image"][:9])


def test_the_expert_is_proven() -> None:
    task = get_task("first_person/basic")

    assert find_doubt(measure_reference_scores(task), task.floor) is None


def test_every_map_starts_and_its_expert_finds_its_actions() -> None:
    maps = {SCENARIOS[task.name].name: task for task in tasks_of("first_person")}
    for task in maps.values():
        environment = FirstPersonEnvironment(SCENARIOS[task.name])
        observation, _ = environment.reset(seed=3)
        expert = task.make_expert()
        expert.reset(environment)
        assert environment.observation_space.contains(observation)
        assert environment.action_space.contains(expert.act(observation))
        environment.close()


def test_the_engine_leaves_nothing_behind_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from tasks.first_person.environment import FirstPersonEnvironment;"
        "from tasks.first_person.instances import SCENARIOS;"
        "environment = FirstPersonEnvironment(SCENARIOS['basic']); environment.reset(seed=0);"
        "print('ready', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path / "here", env=environment, stdout=subprocess.PIPE
    ) as process:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            pytest.fail("the environment did not start")
        assert list((tmp_path / "here").iterdir()) == []
        assert _engines(tmp_path)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5.0
    while (left := _engines(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert left == []


def _engines(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_an_episode_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        FirstPersonEnvironment(SCENARIOS["basic"]).reset()
