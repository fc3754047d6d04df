from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """How a specialist is trained: an algorithm of Stable-Baselines3 with hyper-parameters that somebody published.

    Args:
        algorithm: The algorithm's name.
        steps: Steps in the environment.
        published_score: Mean return that the source reports of such a specialist, in the task's own units.
        source: Where hyper-parameters and score are published.
        num_environments: Environments that are played at once.
        hyperparameters: Arguments of the algorithm's class; JSON values.
        hidden_sizes: Widths of the layers of the policy and of the value function.
        activation: Between these layers.
        log_std_init: Logarithm of the first standard deviation of PPO's actions.
        ortho_init: Whether PPO's layers begin orthogonal.
        normalizes: Whether observations are centred and scaled by their running mean and variance, and rewards scaled.
    """

    algorithm: Literal["ppo", "sac", "td3"]
    steps: int
    published_score: float
    source: str
    num_environments: int = 1
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    hidden_sizes: tuple[int, ...] = (256, 256)
    activation: Literal["relu", "tanh"] = "relu"
    log_std_init: float = 0.0
    ortho_init: bool = True
    normalizes: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return {**asdict(self), "hyperparameters": dict(self.hyperparameters), "hidden_sizes": list(self.hidden_sizes)}
