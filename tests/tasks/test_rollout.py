from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from storage.episode import Episode
from tasks.policies import RandomPolicy
from tasks.rollout import ExpertFailedError, measure_reference_scores, record_expert, roll_out, start_players
from tasks.task import EVALUATION_SEED, Task, open_environment, schema_of


class Countdown(gymnasium.Env):
    """Starts at 1 + seed % 4 and counts down; only the action equal to the parity of what is seen is rewarded."""

    observation_space = spaces.Dict({"left": spaces.MultiDiscrete([8])})
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seed, self.left = seed or 0, 1 + (seed or 0) % 4
        return {"left": np.array([self.left])}, {"action_mask": np.array([True, True, False, False])}

    def step(self, action: int) -> Any:
        reward = float(action == self.left % 2)
        self.left -= 1
        info = {"action_mask": np.array([True, True, False, False]), "summary": {"seed": self.seed}}
        return {"left": np.array([self.left])}, reward, self.left == 0, False, info


class LongCountdown(Countdown):
    """The same from 5 + seed % 3 on."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        _, info = super().reset(seed=seed)
        self.left = 5 + self.seed % 3
        return {"left": np.array([self.left])}, info


class ParityExpert:
    """Does it right, except that it hangs on some seeds, raises, takes its process with it or all memory on others."""

    def __init__(
        self,
        hangs_on: Sequence[int] = (),
        raises_on: Sequence[int] = (),
        dies_on: Sequence[int] = (),
        eats_on: Sequence[int] = (),
    ) -> None:
        self.hangs_on, self.raises_on, self.dies_on, self.eats_on = hangs_on, raises_on, dies_on, eats_on

    def reset(self, environment: gymnasium.Env) -> None:
        seed = environment.unwrapped.seed  # pyright: ignore[reportAttributeAccessIssue]
        while seed in self.hangs_on:
            time.sleep(0.01)
        if seed in self.raises_on:
            raise RuntimeError("lost the thread")
        if seed in self.dies_on:
            os._exit(3)
        while seed in self.eats_on:
            self.eaten = [*getattr(self, "eaten", []), np.empty(1 << 26)]

    def act(self, observation: Mapping[str, Any]) -> int:
        return int(observation["left"][0]) % 2

    def provenance(self) -> Mapping[str, Any]:
        return {"expert": "parity"}


COUNTDOWN = Task(
    id="test/countdown",
    make_environment=Countdown,
    make_expert=ParityExpert,
    expert_route="script",
    num_episodes=4,
    description="",
    licence="MIT",
    code_version="1",
    baselines={"same": ParityExpert},
)


@pytest.fixture(autouse=True)
def _workers_find_this_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def contents(episodes: Sequence[Episode]) -> list[Any]:
    return [
        (episode.seed, episode.observations["left"].tolist(), episode.actions.tolist(), episode.rewards.tolist())
        for episode in episodes
    ]


@pytest.mark.parametrize("num_slots", [1, 3, 10])
def test_episodes_come_in_the_order_of_the_seeds_and_alike_in_any_number_of_slots(num_slots: int) -> None:
    seeds = [3, 0, 2, 1, 7, 4, 6]

    episodes = list(roll_out(COUNTDOWN, RandomPolicy(5), seeds, num_slots=num_slots))

    assert [episode.seed for episode in episodes] == seeds
    assert [len(episode) for episode in episodes] == [4, 1, 3, 2, 4, 1, 3]
    assert contents(episodes) == contents(list(roll_out(COUNTDOWN, RandomPolicy(5), seeds, num_slots=2)))
    assert episodes[0].provenance["summary"] == {"seed": 3}
    assert episodes[0].observations["left"].tolist() == [[4], [3], [2], [1]]
    assert (episodes[0].terminated, episodes[0].truncated) == (True, False)


def test_random_actions_respect_the_mask() -> None:
    episodes = list(roll_out(COUNTDOWN, RandomPolicy(), range(40), num_slots=8))

    assert {action for episode in episodes for action in episode.actions.tolist()} == {0, 1}


def test_an_illegal_action_is_refused_by_task_seed_and_step() -> None:
    class Illegal(RandomPolicy):
        def act(self, slots: Sequence[int], observations: Any, masks: Any) -> list[int]:
            return [3 for _ in slots]

    with pytest.raises(ValueError, match=r"'test/countdown', seed 9, step 0: .* action 3; expected one of \[0, 1\]"):
        list(roll_out(COUNTDOWN, Illegal(), [9], num_slots=1))


def test_expert_episodes_are_equal_for_one_process_and_two() -> None:
    with start_players(2) as players:
        one, two = ([*record_expert(COUNTDOWN, range(10), players=given)] for given in (None, players))

    assert contents(one) == contents(two)
    assert [episode.seed for episode in one] == list(range(10))
    assert one[3].total_return == 4
    assert one[3].provenance["expert"] == "parity"


def test_an_expert_that_hangs_raises_crashes_or_eats_memory_is_cut_and_its_seeds_replaced() -> None:
    task = replace(
        COUNTDOWN, make_expert=partial(ParityExpert, hangs_on=(1,), raises_on=(4,), dies_on=(12,), eats_on=(17,))
    )

    with start_players(2, timeout_s=5.0) as players:
        episodes = list(record_expert(task, range(20), players=players))

    assert {episode.seed for episode in episodes} == {*range(24)} - {1, 4, 12, 17}
    replaced = {episode.provenance["replaces_seed"]: episode.provenance["failure"] for episode in episodes[-4:]}
    assert "took longer than 5 s" in replaced[1]
    assert "took more memory than 4 GiB" in replaced[17]
    assert "lost the thread" in replaced[4]
    assert "exit code 3" in replaced[12]


def test_an_expert_that_fails_often_is_an_error_with_the_last_reason() -> None:
    task = replace(COUNTDOWN, make_expert=partial(ParityExpert, raises_on=range(3, 100)))

    with pytest.raises(ExpertFailedError, match=r"expert failed on 3 seeds, the last of them 5;(.|\n)*lost the thread"):
        list(record_expert(task, range(10)))


def test_players_go_from_task_to_task_and_a_call_that_is_given_up_leaves_nothing_to_the_next() -> None:
    longer = replace(COUNTDOWN, id="test/longer", make_environment=LongCountdown)
    expected = contents(list(record_expert(longer, range(6))))

    with start_players(2) as players:
        given_up = record_expert(COUNTDOWN, range(40), players=players)
        next(given_up)
        given_up.close()  # pyright: ignore[reportAttributeAccessIssue]
        found = contents(list(record_expert(longer, range(6), players=players)))

    assert found == expected


def test_reference_scores_hold_random_expert_and_baselines_on_the_evaluation_seeds() -> None:
    scores = measure_reference_scores(COUNTDOWN, 4)

    assert set(scores) == {"random", "expert", "same"}
    assert scores["expert"]["returns"] == scores["same"]["returns"] == [1, 2, 3, 4]
    assert scores["expert"]["mean"] == 2.5 > scores["random"]["mean"]
    assert scores["random"]["seeds"] == [EVALUATION_SEED + number for number in range(4)]
    assert scores["expert"]["summaries"][2] == {"seed": EVALUATION_SEED + 2}


def test_all_play_the_seeds_that_replace_those_on_which_the_expert_failed() -> None:
    task = replace(COUNTDOWN, make_expert=partial(ParityExpert, raises_on=(EVALUATION_SEED + 1,)))

    scores = measure_reference_scores(task, 4)

    assert scores["expert"]["seeds"] == [EVALUATION_SEED + number for number in (0, 2, 3, 4)]
    assert scores["random"]["seeds"] == scores["same"]["seeds"] == scores["expert"]["seeds"]


def test_a_missing_package_is_answered_with_the_extra_that_brings_it() -> None:
    def fail() -> gymnasium.Env:
        return importlib.import_module("a_simulator_that_is_not_installed").make()

    task = replace(COUNTDOWN, make_environment=fail, extra="simulators")

    with pytest.raises(
        ModuleNotFoundError, match=r"'test/countdown' needs the package 'a_simul(.|\n)*'\.\[simulators\]'"
    ):
        open_environment(task)


def test_a_schema_says_how_observations_and_actions_are_stored() -> None:
    schema = schema_of(COUNTDOWN)

    assert (schema.observations["left"].kind, schema.observations["left"].num_values) == ("discrete", 8)
    assert (schema.action.kind, schema.action.num_values) == ("discrete", 4)
