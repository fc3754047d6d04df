from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from ortools.linear_solver import pywraplp

from tasks.tsp.exact.cuts import Cut

SCALE = 4096
"""Parts that the unit of the distances is cut into where duals are made whole numbers."""

FREE, OUT, IN = np.int8(0), np.int8(1), np.int8(2)
"""What is decided of an edge."""

_NOTHING = 1e-9
_DUAL = "use_dual_simplex: true use_preprocessing: false"  # with preprocessing there is no warm start
_PRIMAL = "use_dual_simplex: false use_preprocessing: false"
_MOST_SLACK = 12


class LinearProgramError(Exception):
    """GLOP found no optimum of a program that has one."""


@dataclass(frozen=True)
class Point:
    """An optimum of the relaxation, and a bound that its duals prove in whole numbers.

    Args:
        x: Value of each edge, shape (edges,).
        value: Length of the point, as the linear solver says.
        bound: What no tour that obeys the decisions is below, times ``SCALE``; exact.
        reduced: What that bound rises by when an edge is used, times ``SCALE``, shape (edges,); exact.
    """

    x: NDArray[np.float64]
    value: float
    bound: int
    reduced: NDArray[np.int64]


class Relaxation:
    """The linear program over the tours of a sparse graph: two edges at each node, and the cuts found so far.

    Whatever the duals are, Lagrange's bound holds under them; so they are rounded, and the bound is computed from them
    in int64. Where decisions leave no point at all, edges may be missing at a price, which gives duals for that too.

    Args:
        num_nodes: Number of nodes.
        u: One end of each edge, shape (edges,).
        v: The other end.
        lengths: Whole-number lengths of the edges.
        cuts: Cuts to begin with.
    """

    def __init__(
        self,
        num_nodes: int,
        u: NDArray[np.int64],
        v: NDArray[np.int64],
        lengths: NDArray[np.int64],
        cuts: Iterable[Cut] = (),
    ) -> None:
        self.num_nodes, self.u, self.v, self.lengths = num_nodes, u, v, lengths
        self._state = np.full(len(u), FREE, dtype=np.int8)
        self._build(_DUAL, cuts)

    def _build(self, settings: str, cuts: Iterable[Cut]) -> None:
        self._cuts: list[Cut] = []
        self._keys: set[tuple[bytes, ...]] = set()
        self._at, self._times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        self._starts, self._at_most = [0], list[int]()
        self._tight = np.empty(0, dtype=bool)
        names = pywraplp.MPSolverParameters
        self._parameters = names()
        self._parameters.SetIntegerParam(names.INCREMENTALITY, names.INCREMENTALITY_ON)
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._solver.SetSolverSpecificParametersAsString(settings)
        self._infinity = self._solver.infinity()
        self._edges = [self._new_variable(1.0, float(length)) for length in self.lengths]
        price = 4.0 * float(self.lengths.max(initial=1))
        self._missing = [self._new_variable(0.0, price) for _ in range(self.num_nodes)]
        self._excess = self._new_variable(0.0, self.num_nodes * price)  # one for all: new columns end the warm start
        self._is_elastic = False
        self._rows = [self._solver.Constraint(2.0, 2.0) for _ in range(self.num_nodes)]
        for row, missing in zip(self._rows, self._missing, strict=True):
            row.SetCoefficient(missing, 1.0)
        for edge, a, b in zip(self._edges, self.u.tolist(), self.v.tolist(), strict=True):
            self._rows[a].SetCoefficient(edge, 1.0)
            self._rows[b].SetCoefficient(edge, 1.0)
        state, self._state = self._state, np.full(len(self.u), FREE, dtype=np.int8)
        self._decide(state)
        self.add(cuts)

    def add(self, cuts: Iterable[Cut], *, x: NDArray[np.float64] | None = None, violation: float = 0.0) -> int:
        """Add the cuts that are new and, where there is a point, that it breaks by more than this; return how many."""
        before = len(self._cuts)
        for cut in cuts:
            if (key := cut.key(self.num_nodes)) in self._keys:
                continue
            sides, at_most = cut.insides(self.num_nodes)
            sizes = np.array([len(side) for side in sides])
            at, times = _count_inside(self.u, self.v, self.num_nodes, np.concatenate(sides), sizes)
            if x is not None and float(times @ x[at]) < at_most + violation:
                continue
            row = self._solver.Constraint(-self._infinity, float(at_most))
            row.SetCoefficient(self._excess, -0.5 * cut.at_least)
            for edge, count in zip(at.tolist(), times.tolist(), strict=True):
                row.SetCoefficient(self._edges[edge], float(count))
            self._keys.add(key)
            self._rows.append(row)
            self._cuts.append(cut)
            self._at.append(at)
            self._times.append(times)
            self._at_most.append(at_most)
            self._starts.append(self._starts[-1] + len(at))
        return len(self._cuts) - before

    def measure(self, state: NDArray[np.int8]) -> float:
        """Return the length of an optimum under decisions, as the linear solver says; infinite if there is none.

        Args:
            state: What is decided of each edge, shape (edges,).

        Raises:
            LinearProgramError: If the linear solver fails.
        """
        self._decide(state)
        return self._solver.Objective().Value() if self._run(is_elastic=False) else np.inf

    def solve(self, state: NDArray[np.int8]) -> Point:
        """Find an optimum under decisions, and prove a bound.

        Args:
            state: What is decided of each edge, shape (edges,).

        Raises:
            LinearProgramError: If the linear solver fails.
        """
        self._decide(state)
        if not self._run(is_elastic=False):
            self._run(is_elastic=True)
        x = np.array([edge.solution_value() for edge in self._edges])
        exact = np.rint(SCALE * np.array([row.dual_value() for row in self._rows]))
        if not np.isfinite(exact).all():
            raise LinearProgramError(f"GLOP returns duals that are no numbers on {len(self.u)} edges")
        duals = exact.astype(np.int64)
        nodes, borders = duals[: self.num_nodes], np.maximum(-duals[self.num_nodes :], 0)
        self._tight = borders > 0
        reduced, bound = _price(
            self.u,
            self.v,
            self.lengths,
            self._state,
            nodes,
            borders,
            np.array(self._starts),
            np.concatenate(self._at),
            np.concatenate(self._times),
            np.array(self._at_most, dtype=np.int64),
        )
        return Point(np.where(x > _NOTHING, x, 0.0), self._solver.Objective().Value(), int(bound), reduced)

    def tight_cuts(self) -> list[Cut]:
        """Return the cuts that the last bound rests on."""
        return [self._cuts[row] for row in np.flatnonzero(self._tight)]

    def drop_slack_cuts(self) -> None:
        """Forget the cuts that the last bound does not rest on, if they are the most."""
        if len(self._cuts) > _MOST_SLACK * int(self._tight.sum()) + self.num_nodes:
            self._build(_DUAL, self.tight_cuts())

    def is_bloated(self) -> bool:
        """Return whether most of the program would be gone without edges that are out and cuts that are not tight."""
        share_left = float((self._state != OUT).mean()) if len(self._state) else 1.0
        in_cuts = np.diff(self._starts)[: len(self._tight)]
        needed = share_left * (2 * len(self.u) + int(in_cuts[self._tight].sum()))
        return 2 * len(self.u) + self._starts[-1] > 3 * needed

    def _new_variable(self, highest: float, price: float) -> pywraplp.Variable:
        variable = self._solver.NumVar(0.0, highest, "")
        self._solver.Objective().SetCoefficient(variable, price)
        return variable

    def _decide(self, state: NDArray[np.int8]) -> None:
        for edge in np.flatnonzero(state != self._state).tolist():
            self._edges[edge].SetBounds(1.0 if state[edge] == IN else 0.0, 0.0 if state[edge] == OUT else 1.0)
        self._state = state.copy()

    def _run(self, *, is_elastic: bool) -> bool:
        """Solve the program; return False if it has no point, which is never so when it is elastic.

        A program that the solver fails on is built anew, and solved from its start by one simplex and then the other.
        """
        status = pywraplp.Solver.NOT_SOLVED
        for settings in ("", _DUAL, _PRIMAL):
            if settings:
                self._build(settings, self._cuts)
            if is_elastic != self._is_elastic:
                self._is_elastic = is_elastic
                for variable in (*self._missing, self._excess):
                    variable.SetUb(self._infinity if is_elastic else 0.0)
            status = self._solver.Solve(self._parameters)
            if status == pywraplp.Solver.OPTIMAL or (status == pywraplp.Solver.INFEASIBLE and not is_elastic):
                return status == pywraplp.Solver.OPTIMAL
        raise LinearProgramError(f"GLOP ends with status {status} on {len(self.u)} edges and {len(self._cuts)} cuts")


@njit(cache=True)
def _price(u, v, lengths, state, nodes, borders, starts, at, times, at_most):
    """Return each edge's reduced length and the bound under duals, both times ``SCALE``."""
    reduced = lengths * SCALE
    bound = 0
    for node in range(len(nodes)):
        bound += 2 * nodes[node]
    for edge in range(len(u)):
        reduced[edge] -= nodes[u[edge]] + nodes[v[edge]]
    for cut in range(len(borders)):
        if borders[cut] > 0:
            bound -= at_most[cut] * borders[cut]
            for place in range(starts[cut], starts[cut + 1]):
                reduced[at[place]] += times[place] * borders[cut]
    for edge in range(len(u)):
        if state[edge] == IN or (state[edge] == FREE and reduced[edge] < 0):
            bound += reduced[edge]
    return reduced, bound


@njit(cache=True)
def _count_inside(u, v, num_nodes, members, sizes):
    """Return the edges that lie inside of sets, and inside of how many each."""
    times, inside = np.zeros(len(u), np.int64), np.zeros(num_nodes, np.bool_)
    start = 0
    for size in sizes:
        inside[:] = False
        for node in members[start : start + size]:
            inside[node] = True
        start += size
        for edge in range(len(u)):
            times[edge] += inside[u[edge]] and inside[v[edge]]
    at = np.flatnonzero(times)
    return at, times[at]
