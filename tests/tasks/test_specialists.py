from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.folder import StoredFolder
from tasks.registry import get_task
from tasks.rollout import record_expert
from tasks.specialists.arena import VALIDATION_SEED, Arena
from tasks.specialists.expert import KIND, UntrainedError, find_specialist, with_specialist
from tasks.specialists.recipe import Recipe
from tasks.task import Task

pytest.importorskip("stable_baselines3", reason="needs the extra specialists")

from tasks.specialists.learner import Learner
from tasks.specialists.train import NUM_LEGS, train

PPO = Recipe(
    "ppo",
    steps=NUM_LEGS * 16,
    published_score=-150.0,
    source="a test",
    num_environments=2,
    hyperparameters={"n_steps": 8, "batch_size": 16, "n_epochs": 1},
    hidden_sizes=(8, 8),
    activation="tanh",
    normalizes=True,
)
SAC_RECIPE = Recipe(
    "sac",
    steps=NUM_LEGS * 10,
    published_score=-150.0,
    source="a test",
    hyperparameters={"learning_starts": 30, "batch_size": 8, "train_freq": 5, "gradient_steps": 1},
    hidden_sizes=(8, 8),
)
TD3_RECIPE = replace(SAC_RECIPE, algorithm="td3", hyperparameters={**SAC_RECIPE.hyperparameters, "action_noise": 0.1})


def pendulum(recipe: Recipe) -> Task:
    return replace(get_task("control/Pendulum"), recipe=recipe, expert_route="specialist")


@pytest.mark.parametrize("recipe", [PPO, SAC_RECIPE, TD3_RECIPE], ids=lambda recipe: recipe.algorithm)
def test_a_training_that_goes_on_after_a_stop_ends_as_if_there_had_been_none(recipe: Recipe, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(self: Learner, folder: Path) -> None:
        if folder.name == "leg-03.partial":
            raise StoppedError
        save(self, folder)

    save, task = Learner.save, pendulum(recipe)
    whole = train(task, StoredFolder(tmp_path / "whole", KIND, task.id))
    interrupted = StoredFolder(tmp_path / "stopped", KIND, task.id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "save", stop)
        with pytest.raises(StoppedError):
            train(task, interrupted)
    resumed = train(task, interrupted)

    assert resumed.digest == whole.digest
    assert len(resumed.metadata["curve"]) == NUM_LEGS
    assert not list((interrupted.path / "runs").glob("*"))


def test_the_episodes_of_a_leg_follow_from_its_number_alone() -> None:
    used = Learner(pendulum(PPO), PPO, seed=0)
    for leg in range(NUM_LEGS):
        fresh = Learner(pendulum(PPO), PPO, seed=0)
        for learner in (used, fresh):
            learner.train(learner.steps + 1, leg=leg)

        seeds = [learner._arenas.get_attr("_seeds") for learner in (used, fresh)]

        of_used, of_fresh = ([int(one.integers(VALIDATION_SEED)) for one in ones] for ones in seeds)
        assert of_used == of_fresh, leg


@pytest.mark.parametrize("recipe", [PPO, SAC_RECIPE, TD3_RECIPE], ids=lambda recipe: recipe.algorithm)
def test_the_stored_network_acts_as_the_trained_policy_does(recipe: Recipe) -> None:
    learner = Learner(pendulum(recipe), recipe, seed=0)
    learner.train(300, leg=0)
    model, arenas = learner._model, learner._arenas
    seen = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    normalised = arenas.normalize_obs(seen) if recipe.normalizes else seen  # pyright: ignore[reportAttributeAccessIssue]

    expected, _ = model.predict(normalised, deterministic=True)

    network = learner.network()
    np.testing.assert_allclose([network.act(one) for one in seen], expected, atol=1e-5)


def test_an_untrained_specialist_is_answered_with_the_command_that_trains_it(tmp_path: Path) -> None:
    with pytest.raises(UntrainedError, match=r"'mujoco/Walker2d'(.|\n)*db1 make specialists mujoco/Walker2d"):
        with_specialist(get_task("mujoco/Walker2d"), str(tmp_path))


def test_a_trained_specialist_plays_as_the_expert_and_is_named_by_its_digest(tmp_path: Path) -> None:
    task = pendulum(PPO)
    manifest = train(task, StoredFolder(tmp_path, KIND, task.id), share=0.5)

    trained, digest = with_specialist(task, str(tmp_path))
    (episode,) = record_expert(trained, [7])

    assert digest == manifest.digest == episode.provenance["specialist"]
    assert manifest.metadata["curve"][-1]["steps"] == PPO.steps / 2
    again, _ = Arena(task).reset(seed=7)
    np.testing.assert_array_equal(episode.observations["observation"][0], again)


def test_a_specialist_is_found_unless_it_is_to_be_trained_longer_or_otherwise(tmp_path: Path) -> None:
    task, folder = pendulum(PPO), StoredFolder(tmp_path, KIND, "control/Pendulum")
    made = train(task, folder, share=0.5)

    assert find_specialist(folder, task, share=0.2) == made
    assert find_specialist(folder, task, share=1.0) is None
    assert find_specialist(folder, pendulum(replace(PPO, steps=7)), share=0.2) is None


def test_a_task_of_discrete_actions_is_none_for_a_specialist() -> None:
    with pytest.raises(ValueError, match=r"'control/CartPole' has .*Discrete\(2\).*continuous actions"):
        Arena(get_task("control/CartPole"))


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_digest(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="needs the extra mujoco")
    task = get_task("mujoco/Pusher")
    command = [sys.executable, "-m", "tasks.specialists.train", task.id, "--share", "0.04", "--root"]
    whole, killed = (StoredFolder(tmp_path / name, KIND, task.id) for name in ("whole", "killed"))
    subprocess.run([*command, whole.root], check=True)

    with subprocess.Popen([*command, killed.root]) as process:
        deadline = time.monotonic() + 300
        while not list(killed.path.glob("runs/*/leg-0[3-9]")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    subprocess.run([*command, killed.root], check=True)

    assert killed.read().digest == whole.read().digest
