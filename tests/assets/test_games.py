from __future__ import annotations

import pytest

from assets.games import Game
from assets.resources import Experiment
from tasks.corpora.own import count_held_out
from tasks.registry import get_task
from tasks.task import EVALUATION_SEED

EXPERIMENT = Experiment(num_evaluation_episodes=20)


def seeds_of(task: str, look: int) -> list[int]:
    return [seed - EVALUATION_SEED for seed in Game("digest", task, look).seeds(EXPERIMENT)]


def test_each_look_goes_on_where_the_one_before_ended_and_doubles_the_episodes() -> None:
    looks = [seeds_of("control/CartPole", look) for look in (1, 2, 3)]

    assert [*looks[0], *looks[1], *looks[2]] == list(range(20, 160))
    assert [len(look) for look in looks] == [20, 40, 80]


@pytest.mark.parametrize("look", [1, 2, 3, 8])
def test_no_held_out_document_is_read_twice(look: int) -> None:
    there = count_held_out(get_task("text/documentation"))

    assert there is not None
    assert seeds_of("text/documentation", look) == list(range(20 * 2 ** (look - 1), min(20 * 2**look, there)))
