from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.tsp.exact.combs import find_combs
from tasks.tsp.exact.cuts import VIOLATION
from tasks.tsp.exact.elimination import follow_decisions, list_candidates, read_tour, surviving_edges
from tasks.tsp.exact.relaxation import FREE, IN, OUT, SCALE, LinearProgramError, Point, Relaxation
from tasks.tsp.exact.subtours import find_subtours
from tasks.tsp.search import improve_tour
from tasks.tsp.tour import Tour, tour_length, turn_tour

Stage = Literal["1-tree", "root", "branching"]
"""How far a proof went: the 1-tree alone, the linear program over all that is left, or a search tree."""

_NOTHING = 1e-6
_NUM_TRIED = 8
_FEW_SUBTOURS = 5


@dataclass(frozen=True)
class _Effort:
    """How long cuts are looked for: starts of the search for combs, and rounds that gain less than a share of the gap.

    Chosen on 40 uniform instances of 200 nodes: 80, 160 and 320 starts at the root leave a mean gap of 0.136, 0.107 and
    0.105 % there, and a proof takes 1.1, 1.2 and 1.3 CPU seconds; 20 starts in the tree are as good as 60.

    Args:
        num_starts: Handles that the search for combs begins from.
        num_deep_starts: Handles that it begins from with large teeth, where it finds no other cut; 0 is not at all.
        least_gain: Share of the gap that a round must close to be a good one.
        patience: Poor rounds in a row after which cutting ends.
    """

    num_starts: int
    num_deep_starts: int
    least_gain: float
    patience: int


_AT_ROOT, _IN_TREE = _Effort(160, 80, 0.005, 8), _Effort(20, 0, 0.02, 3)
_SMALL_TOOTH, _LARGE_TOOTH = 12, 40


@dataclass(frozen=True)
class Proof:
    """What branch and cut found out.

    Args:
        tour: The shortest tour known, shape (nodes,), starting at node 0.
        length: Its length.
        lower_bound: Length that no tour is below; equal to ``length`` when the tour is proven optimal.
        stage: How far it went.
        num_nodes: Nodes of the search tree that were bounded, the root among them.
        fault: What the linear solver failed with, which ended the search; empty when it did not.
    """

    tour: Tour
    length: int
    lower_bound: int
    stage: Stage
    num_nodes: int
    fault: str


def prove_tour(
    distances: NDArray[np.int64],
    tour: Tour,
    potentials: NDArray[np.int64],
    tree_bound: int,
    *,
    max_nodes: int,
    kicks: int,
    restarts: int,
    seed: int,
) -> Proof:
    """Bound all tours from below by branch and cut, shortening the known one on the way, until the two meet.

    Edges are eliminated that no shorter tour uses; the linear program over those left is tightened by subtour and comb
    inequalities; the local search is run once more over the edges that are left then; and the tree is searched from the
    lowest bound on, branching on the edge that moves the linear program most on both sides. What prunes is a bound in
    whole numbers each time.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes).
        tour: A short tour, shape (nodes,).
        potentials: Potentials of the nodes, shape (nodes,).
        tree_bound: The 1-tree's bound under them.
        max_nodes: Nodes of the tree that are bounded at most, children of the last one aside; 1 is the root alone. A
            count, not a time, so that equal inputs give equal proofs.
        kicks: Kicks of a restart of the local search.
        restarts: Its restarts.
        seed: Its seed.

    Returns:
        The tour and its bound. Where the linear solver fails, the bound is that of the nodes still open, and ``fault``
        says what happened.

    Source:
        Padberg and Rinaldi, "A branch-and-cut algorithm for the resolution of large-scale symmetric traveling salesman
        problems", 1991; strong branching and rounded duals: Applegate, Bixby, Chvatal and Cook, "The Traveling
        Salesman Problem: A Computational Study", 2006.
    """
    search = _Search(distances, tour, potentials, tree_bound)
    stage: Stage = "1-tree"
    fault = ""
    if search.begin():
        stage = "root"
        try:
            search.bound_root(kicks=kicks, restarts=restarts, seed=seed)
            if search.open and max_nodes > 1:
                stage = "branching"
                search.branch(max_nodes)
        except LinearProgramError as error:
            fault = str(error)
    return search.conclude(stage, fault)


@dataclass(frozen=True, order=True)
class _Node:
    bound: int
    number: int
    state: NDArray[np.int8] = field(compare=False)
    point: Point = field(compare=False)


class _Search:
    def __init__(
        self, distances: NDArray[np.int64], tour: Tour, potentials: NDArray[np.int64], tree_bound: int
    ) -> None:
        self._distances, self._tour, self._length = distances, tour, tour_length(distances, tour)
        self._lowest = min(tree_bound, self._length) * SCALE
        u, v = surviving_edges(distances, potentials, tree_bound, self._length)
        self._relaxation = Relaxation(len(distances), u, v, distances[u, v])
        self._root = np.full(len(u), FREE, dtype=np.int8)
        self._num_bounded = 0
        self.open: list[_Node] = []

    def begin(self) -> bool:
        """Return whether a shorter tour is possible after what the 1-tree excludes."""
        if self._is_hopeless(self._lowest) or not self._follow(self._root):
            self._lowest = self._length * SCALE
        return self._lowest < self._length * SCALE

    def bound_root(self, *, kicks: int, restarts: int, seed: int) -> None:
        """Tighten the linear program of the whole, and shorten the tour over the edges that it leaves."""
        state, self._num_bounded = self._root, 1
        for number in itertools.count(1):
            if (found := self._tighten(state, _AT_ROOT)) is None:
                self._lowest = self._length * SCALE
                return
            state, point = found
            self._lowest, length = max(self._lowest, point.bound), self._length
            near = list_candidates(len(self._distances), self._relaxation, state)
            self._note(
                improve_tour(self._distances, self._tour, near, kicks=kicks, restarts=restarts, seed=seed + number)
            )
            if self._length == length:
                self.open = [_Node(point.bound, 0, state, point)]
                return
            if self._is_hopeless(point.bound) or not self._fix(state, point):
                self._lowest = self._length * SCALE
                return
            state = self._shrink(state)

    def branch(self, max_nodes: int) -> None:
        """Split the open node with the lowest bound until none is left that could hold a shorter tour."""
        num_made = 0
        while self.open and self._num_bounded < max_nodes:
            node = self.open[0]
            self._lowest = max(self._lowest, min(node.bound, self._length * SCALE))
            if self._is_hopeless(node.bound):
                self.open = []
                break
            children = []
            for state in self._split(node):
                self._num_bounded += 1
                if found := self._tighten(state, _IN_TREE):
                    num_made += 1
                    children.append(_Node(max(found[1].bound, node.bound), num_made, *found))
            heapq.heappop(self.open)
            for child in children:
                heapq.heappush(self.open, child)
        if not self.open:
            self._lowest = self._length * SCALE

    def conclude(self, stage: Stage, fault: str) -> Proof:
        """Return what is known."""
        bound = min(self._length * SCALE, max([self._lowest, *(node.bound for node in self.open[:1])]))
        return Proof(turn_tour(self._tour, 0), self._length, -(-bound // SCALE), stage, self._num_bounded, fault)

    def _tighten(self, state: NDArray[np.int8], effort: _Effort) -> tuple[NDArray[np.int8], Point] | None:
        """Add cuts as long as that pays; return decisions and optimum then, None if no shorter tour obeys them."""
        highest, num_poor = 0, 0
        while True:
            relaxation = self._relaxation
            point = relaxation.solve(state)
            support = point.x > _NOTHING
            ends = relaxation.u[support], relaxation.v[support]
            if (tour := read_tour(len(self._distances), *ends)) is not None:
                self._note(tour)
            if self._is_hopeless(point.bound) or not self._fix(state, point):
                return None
            if effort is _AT_ROOT and relaxation.is_bloated():
                state = self._shrink(state)
                continue
            if effort is _IN_TREE:
                relaxation.drop_slack_cuts()
            graph = (len(self._distances), *ends, point.x[support])
            num_added = relaxation.add(find_subtours(*graph), x=point.x, violation=VIOLATION / 2)
            if num_added < _FEW_SUBTOURS:
                handles = [cut.sets[0] for cut in relaxation.tight_cuts()]
                for num_starts, tooth in ((effort.num_starts, _SMALL_TOOTH), (effort.num_deep_starts, _LARGE_TOOTH)):
                    if num_starts and (tooth == _SMALL_TOOTH or not num_added):
                        combs = find_combs(*graph, handles, num_starts=num_starts, largest_tooth=tooth)
                        num_added += relaxation.add(combs, x=point.x, violation=VIOLATION / 2)
            gain = point.bound - highest
            num_poor = num_poor + 1 if gain < effort.least_gain * (self._length * SCALE - point.bound) else 0
            highest = max(highest, point.bound)
            if not num_added or num_poor == effort.patience:
                return state, point

    def _split(self, node: _Node) -> Iterator[NDArray[np.int8]]:
        free = np.flatnonzero(node.state == FREE)
        if not len(free):
            raise LinearProgramError("every edge is decided, and the bound is still below the tour")
        nearest = free[np.lexsort((free, np.abs(node.point.x[free] - 0.5)))[:_NUM_TRIED]]
        scores = [self._try(node, edge) for edge in nearest.tolist()]
        for side in (IN, OUT):
            if (state := self._with(node.state, int(nearest[np.argmax(scores)]), side)) is not None:
                yield state

    def _try(self, node: _Node, edge: int) -> float:
        gap = max(self._length - node.point.value, _NOTHING)
        score = 1.0
        for side in (OUT, IN):
            state = self._with(node.state, edge, side)
            value = np.inf if state is None else self._relaxation.measure(state)
            score *= min(max(value - node.point.value, 0.0), gap) / gap + _NOTHING
        return score

    def _with(self, state: NDArray[np.int8], edge: int, side: np.int8) -> NDArray[np.int8] | None:
        changed = state.copy()
        changed[edge] = side
        return changed if self._follow(changed) else None

    def _fix(self, state: NDArray[np.int8], point: Point) -> bool:
        """Decide by reduced lengths what edges a shorter tour can't or must use; return whether one may be left."""
        slack = (self._length - 1) * SCALE - point.bound
        free = state == FREE  # the bound counts on decided edges already
        out, into = free & (point.reduced > slack), free & (-point.reduced > slack)
        state[out], state[into] = OUT, IN
        return self._follow(state) if (out | into).any() else True

    def _follow(self, state: NDArray[np.int8]) -> bool:
        return follow_decisions(len(self._distances), self._relaxation.u, self._relaxation.v, state)

    def _shrink(self, state: NDArray[np.int8]) -> NDArray[np.int8]:
        old, left = self._relaxation, np.flatnonzero(state != OUT)
        self._relaxation = Relaxation(old.num_nodes, old.u[left], old.v[left], old.lengths[left], old.tight_cuts())
        return state[left]

    def _note(self, tour: Tour) -> None:
        if (length := tour_length(self._distances, tour)) < self._length:
            self._tour, self._length = tour, length

    def _is_hopeless(self, bound: int) -> bool:
        return bound > (self._length - 1) * SCALE
