from __future__ import annotations

import numpy as np
import pytest

from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out

pytest.importorskip("ale_py", reason="needs the extra atari")

from ale_py import roms  # pyright: ignore[reportMissingImports]

from tasks.atari.environment import NUM_STEPS, AtariEnvironment, shrink
from tasks.atari.expert import PlannerExpert, ScriptedExpert
from tasks.atari.instances import SCRIPTED
from tasks.atari.scripts import SCRIPTS, reflect

_FOR_TWO = {"combat", "joust", "maze_craze", "warlords"}


def test_every_game_for_one_player_is_there() -> None:
    assert {task.name for task in tasks_of("atari")} == set(roms.get_all_rom_ids()) - _FOR_TWO
    assert set(SCRIPTED) == set(SCRIPTS)


@pytest.mark.parametrize("height", [210, 214, 230, 250])
def test_a_shrunk_frame_keeps_its_colours(height: int) -> None:
    frame = np.zeros((height, 160, 3), dtype=np.uint8)
    frame[: height // 2, :, 0] = 200
    frame[:, :80, 1] = 100
    small = shrink(frame)

    assert (small[:32, :, 0] == 200).all()
    assert (small[32:, :, 0] == 0).all()
    assert (small[:, :32, 1] == 100).all()
    assert (small[:, 32:, 1:] == 0).all()


def test_the_seed_fixes_the_episode_whatever_was_played_before() -> None:
    task = get_task("atari/kaboom")

    first, again = (list(roll_out(task, RandomPolicy(), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9]))

    np.testing.assert_array_equal(first.observations["screen"], again.observations["screen"])
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.rewards, again.rewards)


def test_planning_leaves_the_game_as_it_was() -> None:
    environment, twin = AtariEnvironment("ms_pacman"), AtariEnvironment("ms_pacman")
    expert = PlannerExpert()
    observation, _ = environment.reset(seed=3)
    twin.reset(seed=3)
    expert.reset(environment)

    for _ in range(25):
        action = expert.act(observation)
        observation, reward, *_ = environment.step(action)
        seen, gained, *_ = twin.step(action)
        assert reward == gained
        np.testing.assert_array_equal(observation["screen"], seen["screen"])
        np.testing.assert_array_equal(environment.memory, twin.memory)


def test_a_planned_episode_is_the_same_whatever_was_planned_before() -> None:
    environment, expert = AtariEnvironment("space_invaders"), PlannerExpert()
    plans = []
    for seed in (2, 5, 2):
        observation, _ = environment.reset(seed=seed)
        expert.reset(environment)
        plans.append([])
        for _ in range(20):
            plans[-1].append(expert.act(observation))
            observation, *_ = environment.step(plans[-1][-1])

    assert plans[0] == plans[2] != plans[1]


def test_the_script_walks_with_actions_of_use_until_time_is_up() -> None:
    task = get_task("atari/freeway")
    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [0], num_slots=1)
    _, info = AtariEnvironment("freeway").reset(seed=0)

    assert np.flatnonzero(info["action_mask"]).tolist() == [0, 2, 5]
    assert len(episode) == NUM_STEPS
    assert episode.truncated
    assert episode.total_return > 5


def test_a_ball_is_followed_beyond_two_walls() -> None:
    assert [reflect(place, 10.0, 20.0) for place in (12.0, 23.0, 8.0, 31.0, -11.0)] == [12.0, 17.0, 12.0, 11.0, 11.0]


def test_a_game_without_a_script_is_refused() -> None:
    environment = AtariEnvironment("tennis")

    with pytest.raises(ValueError, match="no script for the game 'tennis'; expected one of breakout"):
        ScriptedExpert().reset(environment)


@pytest.mark.filterwarnings("ignore:Rom tenis not supported")
def test_an_unknown_game_is_refused() -> None:
    with pytest.raises(ValueError, match="no game 'tenis' comes with ale-py; expected one of adventure"):
        AtariEnvironment("tenis")


def test_the_beginning_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        AtariEnvironment("pong").reset()


@pytest.mark.slow
@pytest.mark.parametrize("game", SCRIPTED)
def test_the_scripts_are_proven(game: str) -> None:
    task = get_task(f"atari/{game}")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
