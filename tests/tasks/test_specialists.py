from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.folder import StoredFolder
from tasks.policies import ExpertPolicy
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.specialists.arena import VALIDATION_SEED, Arena
from tasks.specialists.expert import KIND, UntrainedError, refuse_untrained, with_specialist
from tasks.specialists.recipe import Recipe
from tasks.task import Task

pytest.importorskip("stable_baselines3", reason="needs the extra specialists")

from stable_baselines3 import SAC

from tasks.specialists.learner import Learner
from tasks.specialists.train import NUM_LEGS, train

PPO = Recipe(
    "ppo",
    steps=NUM_LEGS * 64,
    published_score=-150.0,
    source="a test",
    num_environments=2,
    hyperparameters={"n_steps": 32, "batch_size": 32, "n_epochs": 2},
    hidden_sizes=(8, 8),
    activation="tanh",
    normalizes=True,
)
SAC_RECIPE = Recipe(
    "sac",
    steps=NUM_LEGS * 30,
    published_score=-150.0,
    source="a test",
    hyperparameters={"learning_starts": 50, "batch_size": 16, "train_freq": 10, "gradient_steps": 2},
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
