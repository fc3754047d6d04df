from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from storage.episode import Episode
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.registry import get_task, tasks_of
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED, Policy
from tasks.tsp.cities import china
from tasks.tsp.environment import TourEnvironment
from tasks.tsp.instances import problem_of
from tasks.tsp.problem import VARIANTS, Problem
from tasks.tsp.tour import nearest_neighbour_tour, tour_length
from tasks.tsp.verification import verify_episode
from tasks.tsp.view import VIEW_SIZE, describe_view

CITY = "tsp/tsp100-city-3"


def play(policy: Policy, seeds: Sequence[int], task_id: str = CITY) -> list[Episode]:
    return list(roll_out(get_task(task_id), policy, seeds, num_slots=2))


def expert() -> ExpertPolicy:
    return ExpertPolicy(get_task(CITY).make_expert)


def test_the_family_has_the_232_tasks_of_db1_and_32_of_a_hundred_cities() -> None:
    ids = [task.id for task in tasks_of("tsp")]

    assert len(ids) == 264
    assert {"tsp/tsp100-1", "tsp/tsp100-100", "tsp/tsp200-100", "tsp/tsp200-city-31", "tsp/tsp100-city-0"} <= set(ids)
    assert [problem_of(task_id).number for task_id in ids] == list(range(264))


def test_the_return_is_minus_the_closed_tour_and_the_way_home_is_in_the_last_reward() -> None:
    (episode,) = play(expert(), [EVALUATION_SEED])
    instance = Problem("tsp100-city-3", 235, 100, True).draw_instance(EVALUATION_SEED)
    tour = episode.provenance["summary"]["tour"]

    assert len(episode) == 99
    assert episode.terminated
    assert -1000 * episode.total_return == pytest.approx(tour_length(instance.distances, tour))
    last_two = instance.distances[tour[-2], tour[-1]] + instance.distances[tour[-1], tour[0]]
    assert -1000 * episode.rewards[-1] == pytest.approx(last_two)
    assert -1000 * episode.rewards[0] == pytest.approx(instance.distances[tour[0], tour[1]])
    assert episode.provenance["summary"]["unit"] == "km"


def test_always_taking_rank_0_is_the_nearest_neighbour() -> None:
    task = get_task(CITY)

    (episode,) = play(ExpertPolicy(task.baselines["nearest_neighbour"]), [EVALUATION_SEED + 1])

    instance = Problem("tsp100-city-3", 235, 100, True).draw_instance(EVALUATION_SEED + 1)
    assert episode.provenance["summary"]["tour"] == nearest_neighbour_tour(instance.distances).tolist()
    assert not episode.actions.any()


def test_the_expert_beats_or_tools_which_beats_the_nearest_neighbour() -> None:
    task, seeds = get_task(CITY), [EVALUATION_SEED, EVALUATION_SEED + 1, EVALUATION_SEED + 2]
    policies = [expert(), *(ExpertPolicy(task.baselines[name]) for name in ("or_tools", "nearest_neighbour"))]

    means = [np.mean([episode.total_return for episode in play(policy, seeds)]) for policy in policies]

    assert means[0] > means[1] > means[2]


def test_variants_of_an_instance_share_its_tour_and_differ_in_start_or_direction() -> None:
    episodes = play(expert(), range(VARIANTS))

    assert len({round(episode.total_return, 6) for episode in episodes}) == 1
    walks = [tuple(episode.provenance["summary"]["tour"]) for episode in episodes]
    assert len(set(walks)) > VARIANTS // 2  # some may draw the same start
    assert len({walk[(walk.index(0) + 1) % 100] for walk in walks}) == 2  # both directions
    (other,) = play(expert(), [VARIANTS])
    assert other.total_return != episodes[0].total_return


def test_training_instances_have_no_held_out_city_and_evaluation_ones_have_some() -> None:
    cities, problem = china(), Problem("tsp100-city-3", 235, 100, True)

    def held_out(seed: int) -> int:
        rows = problem.draw_instance(seed).city_rows
        assert rows is not None
        return sum(cities[row].held_out for row in rows)

    assert not any(held_out(VARIANTS * instance) for instance in range(50))
    assert np.mean([held_out(EVALUATION_SEED + instance) for instance in range(20)]) > 5


def test_a_task_has_instances_of_its_own() -> None:
    lengths = [
        Problem("x", number, 20, False).draw_instance(seed).points[0, 0] for number in (0, 1) for seed in (0, 16)
    ]

    assert len(set(lengths)) == 4


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed of -1"):
        Problem("x", 0, 20, False).draw_instance(-1)


def test_a_visited_node_has_no_rank_and_a_rank_beyond_the_mask_is_refused() -> None:
    environment = TourEnvironment(Problem("x", 0, 5, False))
    _, info = environment.reset(seed=0)

    assert info["action_mask"].tolist() == [True] * 4 + [False]
    with pytest.raises(ValueError, match="node 0 is not among the 4 unvisited"):
        environment.rank_of(0)
    with pytest.raises(ValueError, match="rank 4 with 4 unvisited"):
        environment.step(4)


def test_what_is_seen_is_the_same_however_the_plane_is_turned_or_mirrored() -> None:
    points = np.random.default_rng(0).random((30, 2))
    ranked = np.argsort(np.linalg.norm(points - points[3], axis=1), kind="stable")[1:]
    turn = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])

    views = []
    for seen in (points, points @ turn, points * (-1.0, 1.0) + 5.0):
        views.append(np.empty(VIEW_SIZE, np.float32))
        describe_view(np.ascontiguousarray(seen), ranked, 3, int(ranked[-1]), 0.1, views[-1])

    assert np.abs(views[0]).max() <= 1
    np.testing.assert_allclose(views[1], views[0], atol=1e-5)
    np.testing.assert_allclose(views[2], views[0], atol=1e-5)


def test_sound_episodes_of_any_policy_pass_the_check() -> None:
    episodes = [*play(expert(), [5, EVALUATION_SEED]), *play(RandomPolicy(0), [5])]

    assert [verify_episode(episode, CITY) for episode in episodes] == [[], [], []]


def test_every_kind_of_damage_to_a_stored_tour_is_found() -> None:
    (sound,) = play(expert(), [5])
    summary = sound.provenance["summary"]
    swapped = [summary["tour"][0], summary["tour"][2], summary["tour"][1], *summary["tour"][3:]]
    certificate = dict(sound.provenance)
    damages = {
        "no permutation": {"summary": {**summary, "tour": [0, *summary["tour"][:-1]]}},
        "the length is given as": {"length": certificate["length"] - 1},
        "exceeds the tour's length": {"lower_bound": certificate["length"] + 1},
        "exceeds the lower bound": {"tree_bound": certificate["length"], "lower_bound": certificate["length"] - 1},
        "they prove only": {"tree_bound": certificate["tree_bound"] + 1},
        "said to be proven": {"proven": True, "lower_bound": certificate["length"] - 1},
        "no tour in its summary": {"summary": {}},
        "which does not lead from node": {"summary": {**summary, "tour": swapped}, "length": None, "proven": False},
        "the summary says": {"summary": {**summary, "length": summary["length"] + 1}},
    }

    for message, damage in damages.items():
        claims = {key: value for key, value in {**certificate, **damage}.items() if value is not None}
        (problem, *_) = verify_episode(replace(sound, provenance=claims), CITY)
        assert problem.startswith(f"{CITY}, seed 5: ")
        assert message in problem
    (rewards,) = verify_episode(replace(sound, rewards=sound.rewards + 1), CITY)
    assert "the rewards are not minus the lengths" in rewards
