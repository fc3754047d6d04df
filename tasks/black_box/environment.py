from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from cocoex import BareProblem
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.task import EVALUATION_SEED

NUM_EVALUATIONS = 200
"""Points that an episode evaluates."""

_REACH = 5.0
_NUM_RECENT = 12
_SMALLEST_GAP = 1e-8
_NUM_INSTANCES = 100_000  # the suite's own generator takes seeds below 2**31, which are 10,000 times the instance

_Observation = dict[str, NDArray[np.float32]]


class SearchEnvironment(gymnasium.Env):
    """Look for the minimum of an unknown function: each step names a point and is told its value.

    The functions are those of the BBOB suite: Hansen, Finck, Ros and Auger, "Real-parameter black-box optimization
    benchmarking 2009: noiseless functions definitions", INRIA RR-6829. The seed chooses the instance, which moves and
    turns the function; training and evaluation seeds choose different ones.

    Observation:
        All in [-1, 1]. ``best``: the best point so far, shape (dimension,). ``last``: the last point seen from the best
        one, in units of three times the spread of the last 12 points, shape (dimension,). ``search``, shape (6,): the
        part of the evaluations that is used; how long ago the best point was found; the rank of the last value among
        the last 12; and, as logarithms, the spread of the last 12 points, by how much the last value is above the best,
        and by how much the best is below the value of the start.

    Action:
        The next point, float32 of shape (dimension,), in units of half the side of the cube [-5, 5].

    Reward:
        The decimal digits by which the gap of the best value to the optimum shrinks; the optimum is known to the suite
        alone. A random start, within 0.8 of the centre on every axis, is evaluated at the reset, and gaps below 1e-8
        count as 1e-8 (the suite's precision), so the return is ``log10(gap of the start / last gap)``.

    End:
        After 200 evaluations.

    Expert:
        CMA-ES with restarts and growing populations, which knows nothing but the values.

    Licence:
        BSD-3-Clause (the suite, COCO).

    Args:
        function: 1 to 24.
        dimension: 2, 3, 5, 10, 20 or 40.
    """

    def __init__(self, function: int, dimension: int) -> None:
        self.function, self.dimension = function, dimension
        shapes = {"best": (dimension,), "last": (dimension,), "search": (6,)}
        self.observation_space = spaces.Dict({key: spaces.Box(-1.0, 1.0, shape) for key, shape in shapes.items()})
        self.action_space = spaces.Box(-1.0, 1.0, (dimension,))

    @property
    def value(self) -> float:
        """The value of the last point."""
        return self._values[-1]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin with the instance of the seed, and evaluate the start.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the function's instance is chosen by the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        self.instance = 1 + seed % _NUM_INSTANCES + (_NUM_INSTANCES if seed >= EVALUATION_SEED else 0)
        self._problem = BareProblem("bbob", self.function, self.dimension, self.instance)
        self._optimum = float(self._problem.best_value())
        self.start = self.np_random.uniform(-0.8, 0.8, self.dimension)
        self._points = [self.start]
        self._values = [float(self._problem(_REACH * self.start))]
        self._best = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Evaluate a point."""
        before = self._gap()
        self._points.append(np.asarray(action, dtype=np.float64))
        self._values.append(float(self._problem(_REACH * self._points[-1])))
        if self.value < self._values[self._best]:
            self._best = len(self._values) - 1
        is_over = len(self._values) > NUM_EVALUATIONS
        info = {"summary": {"gap": self._gap(), "instance": self.instance}} if is_over else {}
        return self._observe(), float(np.log10(before / self._gap())), is_over, False, info

    def _gap(self) -> float:
        return max(self._values[self._best] - self._optimum, _SMALLEST_GAP)

    def _observe(self) -> _Observation:
        best, value = self._points[self._best], self._values[self._best]
        recent, values = np.array(self._points[-_NUM_RECENT:]), np.array(self._values[-_NUM_RECENT:])
        spread = float(np.sqrt(np.mean((recent - recent.mean(axis=0)) ** 2)))
        used = len(self._values) - 1
        search = (
            2.0 * used / NUM_EVALUATIONS - 1.0,
            2.0 * (used - self._best) / NUM_EVALUATIONS - 1.0,
            2.0 * np.mean(values < self.value) - 1.0,
            _scale_digits(spread, 8.0, 0.0),
            _scale_digits(self.value - value, 8.0, 6.0),
            _scale_digits(self._values[0] - value, 8.0, 6.0),
        )
        seen = {"best": best, "last": (self._points[-1] - best) / (3.0 * spread or 1.0), "search": np.array(search)}
        return {key: np.clip(part, -1.0, 1.0).astype(np.float32) for key, part in seen.items()}


def _scale_digits(value: float, lowest: float, highest: float) -> float:
    """Map 10**-lowest to -1 and 10**highest to 1, on a logarithmic scale."""
    return 2.0 * (np.log10(max(value, 10.0**-lowest)) + lowest) / (lowest + highest) - 1.0
