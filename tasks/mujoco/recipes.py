from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.specialists.recipe import Recipe

_ZOO = "RL Baselines3 Zoo (github.com/DLR-RM/rl-baselines3-zoo)"
_JAT = "Gallouédec et al., 'Jack of All Trades, Master of Some', arXiv:2402.09844, mean of its dataset's episodes"


def _tuned(name: str, score: float, /, *, steps: int = 1_000_000, scored_by: str = "", **tuned: Any) -> Recipe:
    """A recipe of the zoo for PPO: one environment, and observations and rewards normalised."""
    return Recipe(
        algorithm="ppo",
        steps=steps,
        published_score=score,
        source=f"{_ZOO}: hyperparams/ppo.yml, {name}; score: {scored_by or 'its benchmark.md'}",
        hyperparameters=tuned,
        hidden_sizes=(256, 256),
        activation="relu",
        log_std_init=-2.0,
        ortho_init=False,
        normalizes=True,
    )


def _soft(name: str, score: float, steps: int) -> Recipe:
    """A recipe of the zoo for SAC: the algorithm's defaults with a later start."""
    return Recipe(
        algorithm="sac",
        steps=steps,
        published_score=score,
        source=f"{_ZOO}: hyperparams/sac.yml, {name}; score: its benchmark.md",
        hyperparameters={"learning_starts": 10_000},
    )


RECIPES: Mapping[str, Recipe] = {
    "Ant": _soft("Ant-v3", 4615.791, 1_000_000),
    "HalfCheetah": _tuned(
        "HalfCheetah-v3",
        5819.099,
        batch_size=64,
        n_steps=512,
        gamma=0.98,
        learning_rate=2.0633e-05,
        ent_coef=0.000401762,
        clip_range=0.1,
        n_epochs=20,
        gae_lambda=0.92,
        max_grad_norm=0.8,
        vf_coef=0.58096,
    ),
    "Hopper": _tuned(
        "Hopper-v3",
        2410.435,
        batch_size=32,
        n_steps=512,
        gamma=0.999,
        learning_rate=9.80828e-05,
        ent_coef=0.00229519,
        clip_range=0.2,
        n_epochs=5,
        gae_lambda=0.99,
        max_grad_norm=0.7,
        vf_coef=0.835671,
    ),
    "Humanoid": _soft("Humanoid-v3", 6232.287, 2_000_000),
    "HumanoidStandup": _tuned(
        "HumanoidStandup-v3",
        273_574.157,
        steps=10_000_000,
        scored_by=_JAT,
        batch_size=32,
        n_steps=512,
        gamma=0.99,
        learning_rate=2.55673e-05,
        ent_coef=3.62109e-06,
        clip_range=0.3,
        n_epochs=20,
        gae_lambda=0.9,
        max_grad_norm=0.7,
        vf_coef=0.430793,
    ),
    "Pusher": Recipe(
        algorithm="ppo",
        steps=1_000_000,
        published_score=-40.38,
        source="CleanRL (docs.cleanrl.dev/rl-algorithms/ppo, ppo_continuous_action.py), Pusher-v4",
        hyperparameters={"ent_coef": 0.0},
        hidden_sizes=(64, 64),
        activation="tanh",
        normalizes=True,
    ),
    "Walker2d": _tuned(
        "Walker2d-v3",
        3478.798,
        batch_size=32,
        n_steps=512,
        gamma=0.99,
        learning_rate=5.05041e-05,
        ent_coef=0.000585045,
        clip_range=0.1,
        n_epochs=20,
        gae_lambda=0.95,
        max_grad_norm=1.0,
        vf_coef=0.871923,
    ),
}
"""How a specialist is trained, by the name of the task.

The scores are those of versions 2 to 4 of the environments, which differ little from version 5.
"""
