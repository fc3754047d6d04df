from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium

from tasks.sokoban.environment import SokobanEnvironment
from tasks.sokoban.problem import MOST_MOVES
from tasks.sokoban.search import MOST_STATES, solve_level
from tasks.task import Action, Observation, unwrap


class PlannerExpert:
    """Plays a shortest solution, found before the first step."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Solve a level as it stands now.

        Raises:
            ValueError: If the environment is not one of this family, or the level can't be solved any more.
            SearchCappedError: If the level needs a longer search than it is granted; none does at its beginning.
        """
        inner = unwrap(environment, SokobanEnvironment)
        moves = solve_level(inner.level, most_moves=MOST_MOVES)
        if moves is None:
            raise ValueError(f"a level without a solution in {MOST_MOVES} moves; expected one with:\n{inner.level}")
        self._num_moves, self._moves = len(moves), iter(moves.tolist())

    def act(self, observation: Observation) -> Action:
        """Return the solution's next move."""
        return next(self._moves)

    def provenance(self) -> Mapping[str, Any]:
        """Return the search, its cap, the versions it runs on, and the length of the solution."""
        solver = f"A* over pushes, costs in moves, at most {MOST_STATES} states"
        versions = {name: version(name) for name in ("numba", "numpy")}
        return {"solver": solver, "versions": versions, "shortest_moves": self._num_moves}
