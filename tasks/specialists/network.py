from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Activation = Literal["relu", "tanh"]
_LARGEST_DEVIATION = 10.0  # Stable-Baselines3 clips normalised observations there


@dataclass(frozen=True)
class Network:
    """A trained policy as a plain perceptron, so that it acts without torch.

    Args:
        weights: One array a layer, float32 of shape (outputs, inputs).
        biases: One array a layer, float32 of shape (outputs,).
        activation: Between the layers.
        squashes: Whether a tanh follows the last layer; otherwise actions are clipped to [-1, 1].
        mean: What is subtracted from an observation, float32 of shape (inputs,).
        deviation: What it is then divided by, above 0, float32 of shape (inputs,).
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    activation: Activation
    squashes: bool
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the most likely action, in [-1, 1], for an observation of shape (inputs,)."""
        value = np.clip((observation - self.mean) / self.deviation, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            value = weight @ value + bias
            value = np.maximum(value, 0) if self.activation == "relu" else np.tanh(value)
        action = self.weights[-1] @ value + self.biases[-1]
        return np.tanh(action) if self.squashes else np.clip(action, -1.0, 1.0)

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the numbers by name."""
        layers = {f"weight-{number}": weight for number, weight in enumerate(self.weights)}
        layers |= {f"bias-{number}": bias for number, bias in enumerate(self.biases)}
        return {**layers, "mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[np.float32]], *, activation: Activation, squashes: bool
    ) -> Network:
        """Return the network of these numbers."""
        numbers = range(sum(name.startswith("weight-") for name in arrays))
        return cls(
            weights=tuple(arrays[f"weight-{number}"] for number in numbers),
            biases=tuple(arrays[f"bias-{number}"] for number in numbers),
            activation=activation,
            squashes=squashes,
            mean=arrays["mean"],
            deviation=arrays["deviation"],
        )
