from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import cma
import gymnasium
import numpy as np
from numpy.typing import NDArray

from tasks.black_box.environment import SearchEnvironment
from tasks.task import Action, Observation, unwrap

_FIRST_STEP = 0.2
"""Standard deviation of the first points, in the units of the action."""


class EvolutionExpert:
    """CMA-ES from the start; when it has converged it starts again elsewhere with twice the population (IPOP).

    Source:
        Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; Auger and Hansen, "A restart CMA evolution
        strategy with increasing population size", 2005. The strategy is that of the package ``cma``.
    """

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin a search.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = inner = unwrap(environment, SearchEnvironment)
        self._generator = np.random.default_rng([inner.function, inner.dimension, inner.instance])
        self._starts = 0
        self._start(inner.start)

    def act(self, observation: Observation) -> Action:
        """Return the next point of the generation."""
        if self._asked:
            self._told.append(self._environment.value)
        if len(self._told) == len(self._points):
            self._strategy.tell(self._points, self._told)
            if self._strategy.stop():
                self._start(self._generator.uniform(-0.8, 0.8, self._environment.dimension))
            else:
                self._ask()
        point = self._points[self._asked]
        self._asked += 1
        return np.clip(point, -1.0, 1.0).astype(np.float32)

    def provenance(self) -> Mapping[str, Any]:
        """Return the strategy, its version and how often it started."""
        versions = {package: version(package) for package in ("cma", "coco-experiment")}
        return {"solver": "CMA-ES with restarts (IPOP)", "versions": versions, "starts": self._starts}

    def _start(self, centre: NDArray[np.float64]) -> None:
        dimension = self._environment.dimension
        options = {
            "bounds": [-1.0, 1.0],
            "popsize": int(4 + 3 * np.log(dimension)) * 2**self._starts,
            "seed": np.nan,  # leaves numpy's global generator alone
            "randn": lambda *shape: self._generator.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
        }
        self._strategy = cma.CMAEvolutionStrategy(centre, _FIRST_STEP, options)
        self._starts += 1
        self._ask()

    def _ask(self) -> None:
        self._points, self._told, self._asked = self._strategy.ask(), [], 0
