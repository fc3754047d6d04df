from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest

from tasks.babyai.environment import NUM_CELL_VALUES, BabyAIEnvironment, decode_view, encode_view
from tasks.babyai.expert import BotExpert
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.registry import get_task, list_sentences, tasks_of
from tasks.rollout import roll_out
from tasks.task import schema_of


def test_every_object_colour_and_state_has_a_number_of_its_own() -> None:
    cells = np.array(list(product(range(11), range(6), range(3))), dtype=np.uint8)
    views = np.resize(cells, (5, 7, 7, 3))

    numbers = [encode_view(view) for view in views]

    assert {int(number) for view in numbers for number in view} == set(range(NUM_CELL_VALUES))
    assert all(np.array_equal(decode_view(cells), view) for cells, view in zip(numbers, views, strict=True))


def test_the_agent_sees_what_it_carries_at_the_bottom_and_the_compass_last() -> None:
    environment, expert = BabyAIEnvironment("BabyAI-UnlockPickup-v0"), BotExpert()
    grid: Any = environment.unwrapped
    seen, _ = environment.reset(seed=0)
    expert.reset(environment)
    while grid.carrying is None:
        seen, *_ = environment.step(expert.act(seen))

    view = decode_view(seen["view"][:49])

    assert tuple(view[3, 6]) == grid.carrying.encode()
    assert seen["view"][49] == NUM_CELL_VALUES + grid.agent_dir
    assert environment.observation_space.contains(seen)


@pytest.mark.parametrize(
    "name", ["GoToLocal", "OpenRedDoor", "PickupLoc", "PutNextLocal", "GoToSeqS5R2", "UnlockLocal"]
)
def test_the_bot_accomplishes_every_mission_and_beats_random(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    task = get_task(f"babyai/{name}")

    expert = list(roll_out(task, ExpertPolicy(task.make_expert), range(6), num_slots=2))
    random = list(roll_out(task, RandomPolicy(), range(6), num_slots=2))

    assert all(episode.provenance["summary"]["success"] for episode in expert)
    assert min(episode.total_return for episode in expert) > np.mean([episode.total_return for episode in random])
    assert capfd.readouterr().out == ""


def test_a_bot_that_plans_in_circles_is_stopped_after_a_fixed_number_of_searches() -> None:
    environment, expert = BabyAIEnvironment("BabyAI-UnlockToUnlock-v0"), BotExpert()
    environment.reset(seed=4)
    expert.reset(environment)

    def play_on() -> None:
        for _ in range(1080):
            environment.step(expert.act({}))

    with pytest.raises(RuntimeError, match="goes in circles"):
        play_on()


def test_missions_fit_the_tokens_that_a_step_reserves_word_by_word() -> None:
    for name in ("GoToLocal", "OpenDoorLoc", "PickupLoc", "SynthLoc", "GoToSeqS5R2", "MiniBossLevel"):
        task = get_task(f"babyai/{name}")
        environment = task.make_environment()
        missions = [environment.reset(seed=seed)[0]["mission"] for seed in range(20)]

        assert max(len(re.findall(r"\w+|,", mission)) for mission in missions) <= task.text_tokens
        assert schema_of(task).observations["mission"].num_tokens == task.text_tokens


def test_the_sentences_hold_every_word_of_every_level_and_repeat() -> None:
    sentences = list_sentences(["babyai"])
    words = {word for sentence in sentences for word in re.findall(r"\w+|,", sentence)}

    assert sentences == list_sentences(["babyai"])
    for task in tasks_of("babyai"):
        if "S" not in task.name and "Maze" not in task.name:
            mission = task.make_environment().reset(seed=1)[0]["mission"]
            assert set(re.findall(r"\w+|,", mission)) <= words
