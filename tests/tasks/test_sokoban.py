from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from tasks.policies import ExpertPolicy
from tasks.proof import find_doubt
from tasks.registry import get_task, tasks_of
from tasks.rollout import measure_reference_scores, roll_out
from tasks.sokoban.deadlock import FAR, is_frozen, measure_pushes
from tasks.sokoban.environment import SokobanEnvironment
from tasks.sokoban.expert import PlannerExpert
from tasks.sokoban.level import Level, read_level
from tasks.sokoban.problem import ROOMS, Problem
from tasks.sokoban.search import SearchCappedError, solve_level
from tasks.task import schema_of

_MICROBAN = """
######
# .###
#  ###
#*@  #
#  $ #
#  ###
######
"""
"""Level 1 of David W. Skinner's Microban; 33 moves solve it, 8 of them pushes."""

_ROSETTA = """
#######
#     #
#     #
#. #  #
#. $$ #
#.$$  #
#.#  @#
#######
"""
"""The level of Rosetta Code's Sokoban task, where 34 moves are known to be the fewest."""


class _Fixed(Problem):
    level: Level

    def draw(self, seed: int) -> Level:
        return self.level


def _environment(text: str) -> SokobanEnvironment:
    level = read_level(text)
    problem = _Fixed(level.columns, len(level.boxes), "easy")
    object.__setattr__(problem, "level", level)
    environment = SokobanEnvironment(problem)
    environment.reset(seed=0)
    return environment


def _solve_by_brute_force(environment: SokobanEnvironment, most_moves: int) -> int | None:
    start = environment.level
    waiting, seen = deque([(start, 0)]), {(start.player, *start.boxes)}
    while waiting:
        level, num_moves = waiting.popleft()
        if set(level.boxes) == set(level.goals):
            return num_moves
        for action in range(4):
            environment.level = level
            environment.step(action)
            moved = environment.level
            if num_moves < most_moves and (moved.player, *moved.boxes) not in seen:
                seen.add((moved.player, *moved.boxes))
                waiting.append((moved, num_moves + 1))
    return None


@pytest.mark.parametrize(("text", "num_moves"), [(_MICROBAN, 33), (_ROSETTA, 34)])
def test_published_levels_are_solved_in_their_known_fewest_moves(text: str, num_moves: int) -> None:
    moves = solve_level(read_level(text), most_moves=120)

    assert moves is not None
    assert len(moves) == num_moves
    assert solve_level(read_level(text), most_moves=num_moves - 1) is None


@pytest.mark.parametrize("num_boxes", [1, 2, 3])
def test_breadth_first_search_through_the_environment_finds_nothing_shorter(num_boxes: int) -> None:
    generator = np.random.default_rng(num_boxes)
    environment = SokobanEnvironment(Problem(6, num_boxes, "easy"))
    lengths = []
    for seed in range(10):
        environment.reset(seed=seed)
        if seed % 2:  # nothing says that it can still be solved
            level = environment.level
            player, *boxes = generator.choice(np.flatnonzero(~level.walls), 1 + num_boxes, replace=False)
            environment.level = Level(level.walls, level.goals, np.sort(boxes), int(player))

        moves = solve_level(environment.level, most_moves=40)

        lengths.append(None if moves is None else len(moves))
        assert lengths[-1] == _solve_by_brute_force(environment, 40)
    assert None in lengths
    assert max(length for length in lengths if length is not None) > 2 * num_boxes


def test_corners_walls_without_goals_and_blocks_of_boxes_are_deadlocks() -> None:
    walls = np.ones((6, 6), dtype=np.bool_)
    walls[1:-1, 1:-1] = False
    walls, goals, offsets = walls.ravel(), np.array([9, 22]), np.array([-6, 6, -1, 1])
    pushes = measure_pushes(walls, goals, offsets)
    is_dead, is_goal = (pushes == FAR).all(axis=0), np.isin(np.arange(36), goals)

    assert not is_frozen(walls, is_dead, is_goal, np.array([14, 21]), offsets)
    assert is_frozen(walls, is_dead, is_goal, np.array([14, 15, 20, 21]), offsets)
    assert is_frozen(walls, is_dead, is_goal, np.array([9, 10]), offsets)
    assert not is_frozen(walls, is_dead, is_goal, goals, offsets)
    assert is_dead[[7, 13, 19, 25, 26, 28]].all()
    assert pushes[0, 21] == 2


@pytest.mark.parametrize("difficulty", ROOMS)
def test_the_expert_returns_boxes_and_ten_less_a_tenth_of_its_moves(difficulty: str) -> None:
    suffix = "" if difficulty == "medium" else f"-{difficulty}"
    task = get_task(f"sokoban/8x8-3{suffix}")

    first, again = (
        list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9])
    )

    assert first.terminated
    assert first.provenance["summary"] == {"solved": True, "boxes_on_goals": 3}
    assert first.total_return == pytest.approx(3 + 10 - 0.1 * len(first))
    assert len(first) == first.provenance["shortest_moves"]
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.observations["room"], again.observations["room"])


def test_a_push_is_rewarded_and_neither_a_wall_nor_a_second_box_gives_way() -> None:
    environment = _environment("######\n#@$. #\n#$   #\n#$  .#\n#   .#\n######")

    rewards = [environment.step(action)[1] for action in (0, 1, 3, 3)]

    assert rewards == pytest.approx([-0.1, -0.1, 0.9, -1.1])
    assert str(environment.level) == "######\n#  @$#\n#$   #\n#$  .#\n#   .#\n######".replace("@", "+")


def test_a_level_ends_unsolved_after_120_steps() -> None:
    environment = _environment(_MICROBAN)

    endings = [environment.step(0)[2:] for _ in range(120)]

    assert endings[-2][:2] == (False, False)
    assert endings[-1] == (False, True, {"summary": {"solved": False, "boxes_on_goals": 1}})


def test_training_and_evaluation_share_no_level_even_where_there_are_few() -> None:
    problem = Problem(5, 1, "easy")
    training, evaluation = ({str(problem.draw(first + seed)) for seed in range(150)} for first in (0, 1_000_000))

    assert len(training) < 150
    assert not training & evaluation


def test_the_expert_is_proven() -> None:
    task = get_task("sokoban/8x8-2")

    assert find_doubt(measure_reference_scores(task), task.floor) is None
    assert len(tasks_of("sokoban")) == 24
    assert schema_of(task).observations["room"].shape == (36,)


def test_what_cannot_be_played_or_solved_is_refused() -> None:
    with pytest.raises(ValueError, match="6 boxes in 8 rows, difficulty 'easy'; expected 1 to 5"):
        Problem(8, 6, "easy")
    with pytest.raises(ValueError, match="expected walls all around"):
        read_level("####\n#@$.\n####")
    with pytest.raises(ValueError, match="2 boxes and 1 goals; expected equally many"):
        read_level("######\n#@$$.#\n######")
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        SokobanEnvironment(Problem(8, 2, "easy")).reset()
    with pytest.raises(SearchCappedError, match="the search reached 20 states"):
        solve_level(read_level(_ROSETTA), most_moves=120, most_states=20)
    with pytest.raises(ValueError, match="a level without a solution in 120 moves"):
        PlannerExpert().reset(_environment("#####\n#@ .#\n#$  #\n#####\n#####"))
