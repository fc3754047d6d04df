from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from tasks.specialists.arena import VALIDATION_SEED, Arena
from tasks.specialists.network import Network
from tasks.specialists.recipe import Recipe
from tasks.task import Task

_ALGORITHMS = {"ppo": PPO, "sac": SAC, "td3": TD3}
_ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}
_MODEL, _NORMALISER, _BUFFER = "model.zip", "normaliser.pkl", "buffer.pkl"


class Learner:
    """Stable-Baselines3 at work on a task, in legs.

    Every leg begins with new episodes and with random numbers that follow from the seed and the leg alone. What is
    saved between two legs is therefore all that the rest of the training depends on.

    Args:
        task: The task.
        recipe: How it is trained.
        seed: Seed of the training.
        state: Folder that ``save`` filled, to go on from there; None to begin.
    """

    def __init__(self, task: Task, recipe: Recipe, *, seed: int, state: Path | None = None) -> None:
        torch.set_num_threads(1)
        self._recipe, self._seed = recipe, seed
        arenas: VecEnv = DummyVecEnv([partial(Arena, task)] * recipe.num_environments)
        gamma = recipe.hyperparameters.get("gamma", 0.99)
        if recipe.normalizes:
            arenas = VecNormalize.load(str(state / _NORMALISER), arenas) if state else VecNormalize(arenas, gamma=gamma)
        algorithm = _ALGORITHMS[recipe.algorithm]
        if state is None:
            self._model = algorithm("MlpPolicy", arenas, seed=seed, device="cpu", **_arguments(recipe, arenas))
        else:
            self._model = algorithm.load(state / _MODEL, env=arenas, device="cpu")
            if isinstance(self._model, OffPolicyAlgorithm):
                self._model.load_replay_buffer(state / _BUFFER)
        self._arenas = arenas

    @property
    def steps(self) -> int:
        """Steps taken in the environment."""
        return self._model.num_timesteps

    def train(self, until: int, *, leg: int) -> None:
        """Train for one leg, until at least this many steps are taken."""
        numbers = np.random.SeedSequence([self._seed, leg]).generate_state(1)
        self._model.set_random_seed(int(numbers[0] % (VALIDATION_SEED // 2)))  # from there on none fixes what follows
        self._model._last_obs = None  # the leg begins with new episodes, as it would after a restart
        self._model.learn(until - self.steps, reset_num_timesteps=False)

    def save(self, folder: Path) -> None:
        """Write all that the next leg depends on into an empty folder."""
        self._model.save(folder / _MODEL)
        if isinstance(self._arenas, VecNormalize):
            self._arenas.save(str(folder / _NORMALISER))
        if isinstance(self._model, OffPolicyAlgorithm):
            self._model.save_replay_buffer(folder / _BUFFER)

    def network(self) -> Network:
        """Return the policy as it is now."""
        policy: Any = self._model.policy
        if self._recipe.algorithm == "ppo":
            modules = [*policy.mlp_extractor.policy_net, policy.action_net]
        elif self._recipe.algorithm == "sac":
            modules = [*policy.actor.latent_pi, policy.actor.mu]
        else:
            modules = list(policy.actor.mu)
        layers = [module for module in modules if isinstance(module, torch.nn.Linear)]
        mean, deviation = self._scale(layers[0].in_features)
        return Network(
            weights=tuple(_numbers(layer.weight) for layer in layers),
            biases=tuple(_numbers(layer.bias) for layer in layers),
            activation=self._recipe.activation,
            squashes=self._recipe.algorithm != "ppo",
            mean=mean,
            deviation=deviation,
        )

    def _scale(self, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not isinstance(self._arenas, VecNormalize):
            return np.zeros(size, np.float32), np.ones(size, np.float32)
        statistics: Any = self._arenas.obs_rms
        deviation = np.sqrt(statistics.var + self._arenas.epsilon)
        return statistics.mean.astype(np.float32), deviation.astype(np.float32)


def _arguments(recipe: Recipe, arenas: VecEnv) -> Mapping[str, Any]:
    arguments = dict(recipe.hyperparameters)
    if "train_freq" in arguments:
        arguments["train_freq"] = int(arguments["train_freq"])
    if (deviation := arguments.pop("action_noise", None)) is not None:
        shape = arenas.action_space.shape or ()
        arguments["action_noise"] = NormalActionNoise(np.zeros(shape), np.full(shape, deviation))
    policy = {"net_arch": list(recipe.hidden_sizes), "activation_fn": _ACTIVATIONS[recipe.activation]}
    if recipe.algorithm == "ppo":
        sizes = list(recipe.hidden_sizes)
        policy |= {"net_arch": {"pi": sizes, "vf": sizes}}
        policy |= {"log_std_init": recipe.log_std_init, "ortho_init": recipe.ortho_init}
    return {**arguments, "policy_kwargs": policy}


def _numbers(parameter: torch.Tensor) -> NDArray[np.float32]:
    return parameter.detach().numpy().copy()
