from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.multi_agent.cooperation import approach, assign, overlaps
from tasks.multi_agent.lookahead import Path, choose_move, foresee

_EDGE = 0.9  # beyond it those who flee are fined
_SHY_OF = 0.5
_ASIDE = 0.06


def chase(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Run to where the nearest fleeing agent will be, around obstacles and not behind each other.

    One who also speaks says which it runs after.
    """
    prey = [other for other in world.agents if not other.adversary]
    paths_of_prey = [foresee(world, other) for other in prey]
    mates = [
        foresee(world, other, chosen.get(other.name))
        for other in world.agents
        if other.adversary and other is not agent
    ]
    nearest = int(np.argmin([np.linalg.norm(path[1] - agent.state.p_pos) for path in paths_of_prey]))

    touch = agent.size + prey[nearest].size

    def cost(paths: Path) -> NDArray[np.float64]:
        away = np.linalg.norm(paths - paths_of_prey[nearest], axis=2)
        return (
            away.sum(axis=1)
            - 2.0 * (away < touch).sum(axis=1)
            + 0.3 * overlaps(mates, paths, 0.2)
            + 2.0 * overlaps(_obstacles(world), paths, 0.2 + agent.size)
        )

    return choose_move(world, agent, cost) + (0 if agent.silent else 5 * nearest)


def flee(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Keep away from those who chase, inside the field and clear of obstacles, and eat where there is food."""
    hunters = [other for other in world.agents if other.adversary]
    paths_of_hunters = [foresee(world, other) for other in hunters]
    food = [landmark.state.p_pos for landmark in getattr(world, "food", [])]

    def cost(paths: Path) -> NDArray[np.float64]:
        total = 3.0 * np.maximum(0.0, np.abs(paths) - _EDGE).sum(axis=(1, 2))
        total += overlaps(_obstacles(world), paths, 0.2 + agent.size)
        total += 2.0 * overlaps(paths_of_hunters, paths, agent.size + hunters[0].size)
        for path in paths_of_hunters:
            total += np.maximum(0.0, _SHY_OF - np.linalg.norm(paths - path, axis=2)).sum(axis=1)
        if food:
            away = np.min([np.linalg.norm(paths - place, axis=2) for place in food], axis=0)
            total += (0.3 * away - (away < agent.size + 0.03)).sum(axis=1)
        return total

    return choose_move(world, agent, cost)


def hide(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Cover all landmarks by the shortest assignment, the goal a little less closely, so that others stand out."""
    team = [other for other in world.agents if not other.adversary]
    places = [landmark.state.p_pos for landmark in world.landmarks]
    mine = assign(team, places)[agent.name]
    aside = _ASIDE if world.landmarks[mine] is agent.goal_a else 0.0

    def cost(paths: Path) -> NDArray[np.float64]:
        away = np.abs(np.linalg.norm(paths - places[mine], axis=2) - aside)
        return away.sum(axis=1) + 2.0 * away[:, -1]

    return choose_move(world, agent, cost)


def spy(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Go to the landmark to which an agent of the other team is closest."""
    team = [other.state.p_pos for other in world.agents if not other.adversary]
    target = min(
        (landmark.state.p_pos for landmark in world.landmarks),
        key=lambda place: min(float(np.linalg.norm(place - other)) for other in team),
    )
    return approach(world, agent, chosen, target, gap=0.0, fear=0.0)


def push_in(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Go to the goal, whoever is in the way."""
    return approach(world, agent, chosen, agent.goal_a.state.p_pos, gap=0.0, fear=0.0)


def push_out(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Stand on the landmark that the other agent will come closest to."""
    other = next(other for other in world.agents if not other.adversary)
    ahead = foresee(world, other)[-1]
    places = [landmark.state.p_pos for landmark in world.landmarks]
    target = min(places, key=lambda place: float(np.linalg.norm(place - ahead)))
    return approach(world, agent, chosen, target, gap=0.0, fear=0.0)


def encrypt(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Say whether secret and key differ, or, as the one who knows the key, tell the secret from that."""
    speaker = world.agents[2]
    key = int(np.argmax(speaker.key))
    if agent is speaker:
        return int(np.argmax(agent.goal_a.color)) ^ key
    heard = int(np.argmax(speaker.state.c))
    return heard ^ key if heard < 2 else 0


def guess(world: Any, agent: Any, chosen: Mapping[str, int], generator: np.random.Generator) -> int:
    """Guess the secret by chance, which is the best reply to a key that is used for one secret only."""
    return int(generator.integers(2))


def _obstacles(world: Any) -> Sequence[Path]:
    return [landmark.state.p_pos for landmark in world.landmarks if landmark.collide]
