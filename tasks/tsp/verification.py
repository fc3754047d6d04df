from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode
from tasks.tsp.instances import problem_of
from tasks.tsp.problem import Instance

ROUNDING = 1e-6
"""Units by which a length may differ that was summed in float64 from legs of a whole number of metres."""


def verify_tour(
    distances: NDArray[np.int64],
    tour: Sequence[int],
    *,
    length: int | None = None,
    lower_bound: int | None = None,
    tree_bound: int | None = None,
    potentials: Sequence[int] | None = None,
) -> list[str]:
    """Check a closed tour and what is claimed of it, by code that shares nothing with the solver.

    Args:
        distances: Whole-number distances, shape (nodes, nodes).
        tour: Order of the nodes.
        length: Claimed length.
        lower_bound: Claimed bound on the length of every tour, whatever proved it.
        tree_bound: Claimed bound on the length of every tour by the potentials alone.
        potentials: Whole numbers, one a node, from which that bound is computed anew.

    Returns:
        What is wrong, one sentence each; empty when all holds.
    """
    if sorted(tour) != list(range(len(distances))):
        return [f"the tour {_shortened(tour)} is no permutation of the {len(distances)} nodes"]
    problems = []
    found = sum(int(distances[u, v]) for u, v in zip(tour, [*tour[1:], tour[0]], strict=True))
    if length is not None and length != found:
        problems.append(f"the length is given as {length}; the tour is {found} long")
    if lower_bound is not None and lower_bound > found:
        problems.append(f"the lower bound {lower_bound} exceeds the tour's length {found}")
    if tree_bound is not None and lower_bound is not None and tree_bound > lower_bound:
        problems.append(f"the bound {tree_bound} by potentials exceeds the lower bound {lower_bound}")
    if tree_bound is not None and potentials is not None:
        if len(potentials) != len(distances):
            problems.append(f"{len(potentials)} potentials for {len(distances)} nodes")
        elif tree_bound > (proven := bound_of(distances, np.array(potentials, dtype=np.int64), claimed=tree_bound)):
            problems.append(f"the bound by potentials is given as {tree_bound}; they prove only {proven}")
    return problems


def verify_episode(episode: Episode, task_id: str) -> list[str]:
    """Check a stored episode of the family: its actions, rewards, tour and, where it has one, its certificate.

    Args:
        episode: An episode of any policy, its last summary in ``provenance["summary"]``.
        task_id: Task that it is stored under.

    Returns:
        What is wrong, one sentence each, beginning with the task and the seed; empty when all holds.

    Raises:
        ValueError: If the family has no such task.
    """
    problem = problem_of(task_id)
    instance, variant = problem.draw_instance(episode.seed), problem.draw_variant(episode.seed)
    provenance = episode.provenance
    summary: Mapping[str, Any] = provenance.get("summary", {})
    tour = [int(node) for node in summary.get("tour", ())]
    problems = [] if episode.task == task_id else [f"the episode says that it is of task {episode.task!r}"]
    if not tour:
        problems.append("no tour in its summary")
    else:
        names = ("length", "lower_bound", "tree_bound", "potentials")
        claims = {key: provenance[key] for key in names if key in provenance}
        problems += verify_tour(instance.distances, tour, **claims)
        if not problems and provenance.get("proven") and claims.get("lower_bound") != claims.get("length"):
            bound, length = claims.get("lower_bound"), claims.get("length")
            problems.append(f"it is said to be proven, with the bound {bound} and the length {length}")
    if not problems:
        problems += _verify_walk(episode, instance, tour, variant.start, summary)
    return [f"{task_id}, seed {episode.seed}: {problem}" for problem in problems]


def bound_of(distances: NDArray[np.int64], potentials: NDArray[np.int64], *, claimed: int | None = None) -> int:
    """Return the length of a 1-tree under the potentials, less twice their sum: a bound for every tour.

    The spanning tree without a leaf is one of the other nodes, and the leaf's edge to it is its shortest; so that tree
    and the second shortest edge of a leaf form a shortest 1-tree, and the leaf where that is longest gives the bound.
    If equally short spanning trees have other leaves, another bound may be meant: then every node is tried as a leaf.

    Args:
        distances: Whole-number distances, shape (nodes, nodes).
        potentials: Whole numbers, shape (nodes,).
        claimed: A bound; every node is tried when the first tree gives less.
    """
    shifted = distances + potentials[:, None] + potentials
    everyone = list(range(len(shifted)))
    tree = _spanning_tree(shifted, everyone)
    leaves = np.flatnonzero(np.bincount(np.array(tree).ravel(), minlength=len(shifted)) == 1)
    second = max(int(np.partition(np.delete(shifted[leaf], leaf), 1)[1]) for leaf in leaves)
    longest = sum(int(shifted[u, v]) for u, v in tree) + second
    if claimed is not None and longest - 2 * int(potentials.sum()) < claimed:
        longest = max(_one_tree(shifted, special) for special in everyone)
    return longest - 2 * int(potentials.sum())


def _one_tree(shifted: NDArray[np.int64], special: int) -> int:
    others = [node for node in range(len(shifted)) if node != special]
    tree = sum(int(shifted[u, v]) for u, v in _spanning_tree(shifted, others))
    return tree + int(np.sort(shifted[special, others])[:2].sum())


def _spanning_tree(shifted: NDArray[np.int64], nodes: list[int]) -> list[tuple[int, int]]:
    left = np.array(nodes[1:])
    nearest, distance = np.full(len(left), nodes[0]), shifted[nodes[0], left]
    edges = []
    while len(left):
        at = int(distance.argmin())
        node = int(left[at])
        edges.append((int(nearest[at]), node))
        left, nearest, distance = (np.delete(values, at) for values in (left, nearest, distance))
        closer = shifted[node, left] < distance
        nearest, distance = np.where(closer, node, nearest), np.where(closer, shifted[node, left], distance)
    return edges


def _verify_walk(
    episode: Episode, instance: Instance, tour: list[int], start: int, summary: Mapping[str, Any]
) -> list[str]:
    if tour[0] != start:
        return [f"the tour starts at node {tour[0]}; the seed says {start}"]
    if len(episode) != len(tour) - 1:
        return [f"{len(episode)} actions; expected {len(tour) - 1}"]
    nodes, is_left = np.arange(len(tour)), np.ones(len(tour), dtype=bool)
    is_left[start] = False
    for step, action in enumerate(episode.actions.tolist()):
        away, after = instance.distances[tour[step]], tour[step + 1]
        is_nearer = (away < away[after]) | ((away == away[after]) & (nodes < after))
        if not is_left[after] or np.count_nonzero(is_left & is_nearer) != action:
            return [f"action {step} is {action}, which does not lead from node {tour[step]} to node {after}"]
        is_left[after] = False
    problems = []
    legs = [int(instance.distances[u, v]) for u, v in zip(tour, [*tour[1:], tour[0]], strict=True)]
    legs[-2:] = [sum(legs[-2:])]
    if not np.allclose(episode.rewards, -np.array(legs) / instance.per_unit, rtol=0, atol=ROUNDING):
        problems.append("the rewards are not minus the lengths of the legs, the way home in the last")
    length = sum(legs) / instance.per_unit
    if not abs(float(summary.get("length", np.nan)) - length) <= ROUNDING or summary.get("unit") != instance.unit:
        claimed = f"{summary.get('length')} {summary.get('unit')}"
        problems.append(f"the summary says {claimed}; the tour is {length} {instance.unit} long")
    return problems


def _shortened(tour: Sequence[int]) -> str:
    return str(list(tour[:10])) if len(tour) <= 10 else f"{list(tour[:10])} and {len(tour) - 10} more"
