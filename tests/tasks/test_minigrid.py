from __future__ import annotations

import re
from typing import Any

import gymnasium
import numpy as np
import pytest

from tasks.babyai.environment import decode_view
from tasks.minigrid.environment import MiniGridEnvironment
from tasks.minigrid.expert import PlannerExpert
from tasks.minigrid.memory import UNSEEN, GridMemory
from tasks.minigrid.missions import list_missions, parse_mission
from tasks.minigrid.paths import measure_paths, trace_path
from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, list_sentences, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

_ONE_OF_EACH = (
    "BlockedUnlockPickup",
    "DoorKey-8x8",
    "Dynamic-Obstacles-Random-6x6",
    "Fetch-8x8-N3",
    "FourRooms",
    "GoToDoor-6x6",
    "GoToObject-6x6-N2",
    "KeyCorridorS3R3",
    "LavaCrossingS9N3",
    "LockedRoom",
    "MemoryS13Random",
    "MultiRoom-N4-S5-v1",
    "ObstructedMaze-1Dlhb",
    "ObstructedMaze-2Dlh",
    "PutNear-6x6-N2",
    "RedBlueDoors-6x6",
    "Unlock",
)


@pytest.mark.parametrize("name", _ONE_OF_EACH)
def test_the_planner_accomplishes_every_mission(name: str) -> None:
    task = get_task(f"minigrid/{name}")

    episodes = list(roll_out(task, ExpertPolicy(task.make_expert), range(1, 4), num_slots=2))

    assert all(episode.provenance["summary"]["success"] for episode in episodes)


@pytest.mark.parametrize(("name", "seed"), [("ObstructedMaze-2Dl", 20), ("ObstructedMaze-2Dlhb-v1", 34)])
def test_a_key_is_not_taken_up_and_put_down_for_ever(name: str, seed: int) -> None:
    task = get_task(f"minigrid/{name}")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [seed], num_slots=1)

    assert episode.provenance["summary"]["success"]
    assert len(episode) < 100


def test_in_an_empty_room_the_way_is_the_shortest() -> None:
    task = get_task("minigrid/Empty-8x8")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [0], num_slots=1)

    assert len(episode) == 5 + 1 + 5
    assert episode.total_return == pytest.approx(1 - 0.9 * 11 / 256)


@pytest.mark.parametrize("name", ["Empty-8x8", "LavaCrossingS9N2", "MultiRoom-N6", "Fetch-8x8-N3"])
def test_a_look_shows_what_the_environment_shows(name: str) -> None:
    task = get_task(f"minigrid/{name}")
    environment, expert = task.make_environment(), task.make_expert()
    seen, _ = environment.reset(seed=3)
    expert.reset(environment)
    grid: Any = environment.unwrapped
    known = GridMemory(grid.width, grid.height, sees_through_walls=grid.see_through_walls)
    for _ in range(8):
        action = expert.act(seen)
        view = decode_view(seen["view"][:-1])
        pose = 4 * known.cell_at(*map(int, grid.agent_pos)) + grid.agent_dir
        known.update(view, pose)

        looked = set(known.look(pose))

        shown = {known.cell_at(*_place(grid, column, row)) for column, row in np.argwhere(view[:, :, 0] != UNSEEN)}
        assert looked == shown | {pose // 4}
        seen, _, terminated, *_ = environment.step(action)
        if terminated:
            break


def test_the_cheapest_way_goes_around_a_wall_and_costs_the_same_both_ways() -> None:
    # Five columns; the room is 3 x 2 with a wall in the middle of the first row.
    tolls = [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    steps = (1, 5, -1, -5)
    start, end = 4 * 6 + 1, 4 * 8 + 3

    costs, back = measure_paths([start], tolls, steps)
    costs_to_end, _ = measure_paths([end], tolls, steps, backward=True)

    assert costs[end] == costs_to_end[start] == 4 + 2
    assert [pose // 4 for pose in trace_path(end, back)] == [8, 13, 13, 12, 11, 11, 6]


def test_the_planner_acts_on_what_it_has_seen_alone() -> None:
    environment, expert = MiniGridEnvironment("MiniGrid-MemoryS13-v0"), PlannerExpert()
    grid: Any = environment.unwrapped
    for seed in range(6):
        seen, _ = environment.reset(seed=seed)
        expert.reset(environment)
        shown = (1, grid.height // 2 - 1)
        is_over = False
        has_looked = False
        while not is_over:
            has_looked |= bool(grid.in_view(*shown))
            seen, reward, is_over, *_ = environment.step(expert.act(seen))

        assert has_looked
        assert reward > 0


@pytest.mark.parametrize("name", ["Dynamic-Obstacles-8x8", "ObstructedMaze-2Dlh", "LockedRoom"])
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(name: str) -> None:
    task = get_task(f"minigrid/{name}")

    first, again = (
        list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9])
    )

    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.observations["view"], again.observations["view"])
    assert first.total_return == again.total_return


def test_every_task_has_its_mission_among_the_sentences_within_its_tokens() -> None:
    sentences = set(list_sentences(["minigrid"]))
    for task in tasks_of("minigrid"):
        environment = task.make_environment()
        seen, _ = environment.reset(seed=5)

        assert environment.observation_space.contains(seen)
        assert seen["mission"] in sentences
        assert len(re.findall(r"\w+|,", seen["mission"])) <= task.text_tokens


def test_all_of_minigrid_is_here_but_for_what_cannot_be_played() -> None:
    registered = {
        name.removeprefix("MiniGrid-").removesuffix("-v0") for name in gymnasium.registry if "MiniGrid" in name
    }

    missing = registered - {task.name for task in tasks_of("minigrid")}

    assert {name.split("-")[0] for name in missing} == {"Playground", "WFC"}
    assert len(tasks_of("minigrid")) == 75


def test_a_level_without_its_key_is_given_up() -> None:
    environment, expert = MiniGridEnvironment("MiniGrid-Unlock-v0"), PlannerExpert()
    grid: Any = environment.unwrapped
    environment.reset(seed=0)
    for x, y in np.ndindex(grid.width, grid.height):
        cell = grid.grid.get(x, y)
        if cell is not None and cell.type == "key":
            grid.grid.set(x, y, None)
    expert.reset(environment)

    def play_on() -> None:
        seen, *_ = environment.step(0)
        for _ in range(200):
            seen, *_ = environment.step(expert.act(seen))

    with pytest.raises(RuntimeError, match="nothing is left to try"):
        play_on()


def test_every_mission_is_understood_and_no_other() -> None:
    missions = list_missions()

    assert len(missions) == len(set(missions))
    assert {parse_mission(mission).verb for mission in missions} == {
        "reach", "fetch", "take", "visit", "put", "open", "match"
    }  # fmt: skip
    with pytest.raises(ValueError, match="the mission 'make tea' is unknown"):
        parse_mission("make tea")


def test_the_expert_is_proven() -> None:
    task = get_task("minigrid/PutNear-6x6-N2")

    assert find_doubt(measure_reference_scores(task), task.floor) is None


def _place(grid: Any, column: int, row: int) -> tuple[int, int]:
    ahead, right = grid.dir_vec, grid.right_vec
    x, y = np.asarray(grid.agent_pos) + (6 - row) * ahead + (column - 3) * right
    return int(x), int(y)
