from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tasks.multi_agent.lookahead import NUM_AHEAD, Path, choose_move, foresee

_LINE_LENGTH = 1.25  # mpe2's
_CIRCLE_RADIUS = 0.5  # mpe2's
_LAST_WEIGHT = 3.0

_Place = NDArray[np.float64]


def distances_to(target: Path | _Place, paths: Path) -> NDArray[np.float64]:
    """Return how far paths stay from a place or from another path, summed over the steps, the last ones counting more.

    Args:
        target: A place, shape (2,), or a path, shape (NUM_AHEAD, 2).
        paths: Shape (paths, NUM_AHEAD, 2).
    """
    weights = np.ones(NUM_AHEAD)
    weights[-1] = _LAST_WEIGHT
    return np.linalg.norm(paths - target, axis=2) @ weights


def overlaps(others: Sequence[Path], paths: Path, gap: float) -> NDArray[np.float64]:
    """Return how many steps paths are closer than a gap to other paths, plus how deep as a fraction of the gap."""
    cost = np.zeros(len(paths))
    for other in others:
        distance = np.linalg.norm(paths - other, axis=2)
        cost += ((distance < gap) + np.maximum(0.0, 1.0 - distance / gap)).sum(axis=1)
    return cost


def assign(agents: Sequence[Any], places: Sequence[_Place]) -> dict[str, int]:
    """Return for agents by name the places that they take so that the sum of the distances is least."""
    positions = np.array([agent.state.p_pos for agent in agents])
    table = np.linalg.norm(positions[:, None] - np.array(places)[None], axis=2)
    rows, columns = linear_sum_assignment(table)
    return {agents[row].name: int(column) for row, column in zip(rows, columns, strict=True)}


def approach(
    world: Any, agent: Any, chosen: Mapping[str, int], target: Path | _Place, *, gap: float, fear: float
) -> int:
    """Return the move that brings an agent to a target and clear of the others that it knows of.

    Args:
        world: The world of mpe2.
        agent: Who moves.
        chosen: The actions of the agents before it.
        target: Where to.
        gap: How close the centres of two agents may come.
        fear: What a step closer than that costs, in units of distance.
    """
    others = [foresee(world, other, chosen.get(other.name)) for other in world.agents if other is not agent]

    def cost(paths: Path) -> NDArray[np.float64]:
        return distances_to(target, paths) + (fear * overlaps(others, paths, gap) if fear else 0.0)

    return choose_move(world, agent, cost)


def go(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Go to the landmark."""
    return approach(world, agent, chosen, world.landmarks[0].state.p_pos, gap=0.0, fear=0.0)


def cover(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Go to one's landmark by the shortest assignment, a little aside where two are closer than agents are wide."""
    gap = 2.0 * agent.size + 0.01
    places = np.array([landmark.state.p_pos for landmark in world.landmarks])
    for _ in range(20):
        ways = places[:, None] - places[None]
        distance = np.linalg.norm(ways, axis=2) + np.eye(len(places))
        places = places + 0.5 * (ways / distance[..., None] * np.maximum(0.0, gap - distance)[..., None]).sum(axis=1)
    mine = assign(world.agents, list(places))[agent.name]
    return approach(world, agent, chosen, places[mine], gap=gap, fear=0.3)


def line_up(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Go to one's place between the two landmarks by the shortest assignment."""
    start, end = (landmark.state.p_pos for landmark in world.landmarks)
    places = list(np.linspace(start, end, len(world.agents)))
    return approach(world, agent, chosen, places[assign(world.agents, places)[agent.name]], gap=0.07, fear=0.02)


def encircle(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Go to one's place on the circle, which begins at the agent of the smallest angle, by the shortest assignment."""
    centre = world.landmarks[0].state.p_pos
    ways = [other.state.p_pos - centre for other in world.agents]
    first = min(np.arctan2(way[1], way[0]) % (2.0 * np.pi) for way in ways)
    angles = first + np.arange(len(ways)) * 2.0 * np.pi / len(ways)
    places = list(centre + _CIRCLE_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return approach(world, agent, chosen, places[assign(world.agents, places)[agent.name]], gap=0.11, fear=0.02)


def gather(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Fetch treasures by the shortest assignment, meet where they are taken, and keep collectors apart."""
    collectors = [other for other in world.agents if other.collector]
    deposits = [other for other in world.agents if not other.collector]
    if not agent.collector:
        carriers = [other for other in collectors if other.holding == agent.d_i] or collectors
        paths = [foresee(world, other, chosen.get(other.name)) for other in carriers]
        nearest = min(paths, key=lambda path: float(np.linalg.norm(path[0] - agent.state.p_pos)))
        target = nearest if carriers is not collectors else np.mean(paths, axis=0)
        return choose_move(world, agent, lambda paths: distances_to(target, paths))
    if agent.holding is not None:
        target = foresee(world, deposits[agent.holding])
    else:
        empty = [other for other in collectors if other.holding is None]
        places = [landmark.state.p_pos for landmark in world.landmarks if landmark.alive]
        mine = assign(empty, places).get(agent.name) if places else None
        target = agent.state.p_pos if mine is None else places[mine]
    others = [foresee(world, other, chosen.get(other.name)) for other in collectors if other is not agent]
    return choose_move(world, agent, lambda paths: distances_to(target, paths) + 2.0 * overlaps(others, paths, 0.11))


def refer(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Say the number of the other's landmark, and go to the one that it says; to their middle until it speaks."""
    other = next(other for other in world.agents if other is not agent)
    places = [landmark.state.p_pos for landmark in world.landmarks]
    word = chosen[other.name] // 5 if other.name in chosen else _last_word(other)
    target = np.mean(places, axis=0) if word is None else places[word]
    return approach(world, agent, chosen, target, gap=0.0, fear=0.0) + 5 * world.landmarks.index(agent.goal_b)


def direct(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Say the number of the listener's landmark; or, as the listener, go to the landmark that was said just now."""
    if not agent.movable:
        return world.landmarks.index(agent.goal_b)
    speaker = world.agents[0]
    return approach(world, agent, {}, world.landmarks[chosen[speaker.name]].state.p_pos, gap=0.0, fear=0.0)


def _last_word(speaker: Any) -> int | None:
    return int(np.argmax(speaker.state.c)) if np.any(speaker.state.c) else None
