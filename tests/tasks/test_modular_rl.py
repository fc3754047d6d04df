from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from tasks.modular_rl.instances import recipe_for
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.registry import get_task, tasks_of
from tasks.rollout import roll_out
from tasks.specialists.expert import UntrainedError
from tasks.task import schema_of

pytest.importorskip("mujoco", reason="needs the extra modular_rl")

from gymnasium.envs.mujoco import MujocoEnv

from tasks.modular_rl.body import build_body
from tasks.modular_rl.environment import NUM_STEPS, MorphologyEnvironment
from tasks.modular_rl.morphologies import MORPHOLOGIES, Morphology


@pytest.mark.parametrize(
    ("name", "whole"),
    [("cheetah-7-full", "HalfCheetah-v5"), ("hopper-4", "Hopper-v5"), ("walker-7-main", "Walker2d-v5")],
)
def test_a_body_from_which_nothing_is_cut_is_gymnasiums(name: str, whole: str) -> None:
    model, inner = build_body(MORPHOLOGIES[name]), gymnasium.make(whole).unwrapped

    assert isinstance(inner, MujocoEnv)
    np.testing.assert_allclose(model.body_mass, inner.model.body_mass)
    np.testing.assert_allclose(model.body_pos, inner.model.body_pos, atol=1e-9)
    np.testing.assert_allclose(model.jnt_range, inner.model.jnt_range)


def test_there_are_38_bodies_no_two_of_them_alike_with_as_many_parts_as_they_say() -> None:
    tasks = tasks_of("modular_rl")
    models = [build_body(MORPHOLOGIES[task.name]) for task in tasks]
    seen = {
        (round(float(model.body_mass.sum()), 6), *np.round(np.concatenate([model.body_pos, model.jnt_axis]), 6).ravel())
        for model in models
    }

    assert len(seen) == len(tasks) == 38
    for task, model in zip(tasks, models, strict=True):
        assert model.nu + 1 == int(task.name.split("-")[1])
        assert model.nu + 3 == model.nv == model.nq


def test_the_reward_is_the_speed_along_and_the_bonus_less_the_cost_of_the_action() -> None:
    environment = MorphologyEnvironment("hopper-5")
    environment.reset(seed=3)
    before_m = environment._data.qpos[0]

    _, reward, *_ = environment.step(np.full(4, 0.5, dtype=np.float32))

    speed_m_s = (environment._data.qpos[0] - before_m) / 0.008
    assert reward == pytest.approx(speed_m_s + 1.0 - 0.001 * 4 * 0.25)


@pytest.mark.parametrize("task_id", ["modular_rl/humanoid-7-without-left-leg", "modular_rl/walker-4-flipped"])
def test_equal_seeds_give_equal_episodes_whatever_was_played_before(task_id: str) -> None:
    task = get_task(task_id)

    first, again = (list(roll_out(task, RandomPolicy(), seeds, num_slots=1))[-1] for seeds in ([9], [4, 9]))

    assert schema_of(task).action.shape == first.actions.shape[1:]
    assert first.terminated
    assert len(first) < NUM_STEPS
    np.testing.assert_array_equal(first.rewards, again.rewards)
    for key, seen in first.observations.items():
        np.testing.assert_array_equal(seen, again.observations[key])
        assert np.abs(seen).max() <= 1.0


def test_a_flipped_body_does_backwards_what_the_other_does_forwards() -> None:
    main, flipped = (MorphologyEnvironment(f"walker-6-{name}") for name in ("main", "flipped"))
    for environment in (main, flipped):
        environment.reset(seed=0)
        environment._data.qpos[:], environment._data.qvel[:] = environment._model.qpos0, 0.0

    for _ in range(20):
        for environment in (main, flipped):
            environment.step(np.array([0.3, -0.2, 0.1, 0.5, 0.4], dtype=np.float32))

    (x, z, lean), (mirrored_x, mirrored_z, mirrored_lean) = main._data.qpos[:3], flipped._data.qpos[:3]
    assert abs(x) > 0.001
    np.testing.assert_allclose([x, z, lean], [-mirrored_x, mirrored_z, -mirrored_lean], atol=1e-6)


def test_an_untrained_specialist_says_how_it_is_trained() -> None:
    with pytest.raises(UntrainedError, match="modular_rl/hopper-4"):
        get_task("modular_rl/hopper-4").make_expert()


def test_feedback_hops_further_than_the_published_score_of_the_whole_hopper() -> None:
    task = get_task("modular_rl/hopper-3")

    (episode,) = roll_out(task, ExpertPolicy(task.make_expert), [1_000_000], num_slots=1)

    assert len(episode) == NUM_STEPS
    assert episode.total_return > recipe_for("hopper").published_score


def test_a_limb_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'tail' is to be cut off; expected one of torso, thigh"):
        build_body(Morphology("hopper", ("tail",)))


def test_a_pose_needs_a_seed() -> None:
    with pytest.raises(ValueError, match=r"expected reset\(seed=\.\.\.\)"):
        MorphologyEnvironment("hopper-3").reset()
