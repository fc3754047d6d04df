from __future__ import annotations

from collections.abc import Mapping

from tasks.specialists.recipe import Recipe

_SOURCE = (
    "hyper-parameters: Haarnoja et al., 'Soft actor-critic algorithms and applications', arXiv:1812.05905, with an "
    "update every two steps, as when each action is repeated once; score: mean of the three runs of SAC of Hansen et "
    "al., 'TD-MPC2', arXiv:2310.16828 (github.com/nicklashansen/tdmpc2, results/sac), after as many steps, each action "
    "repeated once, with larger networks (github.com/denisyarats/pytorch_sac)"
)

_PUBLISHED: Mapping[str, tuple[int, float]] = {
    "ball_in_cup-catch": (300_000, 969.0),
    "cheetah-run": (1_000_000, 730.0),
    "dog-stand": (2_500_000, 174.0),
    "dog-walk": (2_500_000, 31.0),
    "finger-spin": (1_000_000, 878.0),
    "finger-turn_easy": (2_000_000, 970.0),
    "finger-turn_hard": (2_000_000, 966.0),
    "fish-swim": (4_000_000, 108.0),
    "hopper-hop": (2_000_000, 107.0),
    "hopper-stand": (2_000_000, 597.0),
    "humanoid-run": (14_000_000, 2.0),
    "humanoid-stand": (14_000_000, 10.0),
    "humanoid-walk": (14_000_000, 312.0),
    "quadruped-run": (4_000_000, 464.0),
    "quadruped-walk": (4_000_000, 778.0),
    "walker-run": (1_000_000, 635.0),
    "walker-stand": (1_000_000, 949.0),
    "walker-walk": (1_000_000, 957.0),
}
"""For each task the steps of a training and the mean return that the source reports after them."""


def recipe_of(name: str) -> Recipe | None:
    """Return how a task's specialist is trained; None when nobody is known to have published it."""
    if name not in _PUBLISHED:
        return None
    steps, score = _PUBLISHED[name]
    return Recipe(
        algorithm="sac",
        steps=steps,
        published_score=score,
        source=_SOURCE,
        hyperparameters={
            "learning_rate": 3e-4,
            "buffer_size": 1_000_000,
            "batch_size": 256,
            "gamma": 0.99,
            "tau": 0.005,
            "learning_starts": 5000,
            "train_freq": 2,
            "gradient_steps": 1,
        },
        hidden_sizes=(256, 256),
        activation="relu",
    )
