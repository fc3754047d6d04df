from __future__ import annotations

from functools import partial

import gymnasium

from tasks.minigrid.missions import list_missions
from tasks.task import Expert, Task

_TEXT_TOKENS = {
    "BlockedUnlockPickup": 5,
    "DistShift1": 6,
    "DistShift2": 6,
    "DoorKey-5x5": 13,
    "DoorKey-6x6": 13,
    "DoorKey-8x8": 13,
    "DoorKey-16x16": 13,
    "Dynamic-Obstacles-5x5": 6,
    "Dynamic-Obstacles-6x6": 6,
    "Dynamic-Obstacles-8x8": 6,
    "Dynamic-Obstacles-16x16": 6,
    "Dynamic-Obstacles-Random-5x5": 6,
    "Dynamic-Obstacles-Random-6x6": 6,
    "Empty-5x5": 6,
    "Empty-6x6": 6,
    "Empty-8x8": 6,
    "Empty-16x16": 6,
    "Empty-Random-5x5": 6,
    "Empty-Random-6x6": 6,
    "Fetch-5x5-N2": 6,
    "Fetch-6x6-N2": 6,
    "Fetch-8x8-N3": 6,
    "FourRooms": 3,
    "GoToDoor-5x5": 5,
    "GoToDoor-6x6": 5,
    "GoToDoor-8x8": 5,
    "GoToObject-6x6-N2": 5,
    "GoToObject-8x8-N2": 5,
    "KeyCorridorS3R1": 5,
    "KeyCorridorS3R2": 5,
    "KeyCorridorS3R3": 5,
    "KeyCorridorS4R3": 5,
    "KeyCorridorS5R3": 5,
    "KeyCorridorS6R3": 5,
    "LavaCrossingS9N1": 10,
    "LavaCrossingS9N2": 10,
    "LavaCrossingS9N3": 10,
    "LavaCrossingS11N5": 10,
    "LavaGapS5": 10,
    "LavaGapS6": 10,
    "LavaGapS7": 10,
    "LockedRoom": 18,
    "MemoryS7": 11,
    "MemoryS9": 11,
    "MemoryS11": 11,
    "MemoryS13": 11,
    "MemoryS13Random": 11,
    "MemoryS17Random": 11,
    "MultiRoom-N2-S4": 8,
    "MultiRoom-N4-S5": 8,
    "MultiRoom-N4-S5-v1": 8,
    "MultiRoom-N6": 8,
    "ObstructedMaze-1Dl": 5,
    "ObstructedMaze-1Dlh": 5,
    "ObstructedMaze-1Dlhb": 5,
    "ObstructedMaze-1Q": 5,
    "ObstructedMaze-1Q-v1": 5,
    "ObstructedMaze-2Dl": 5,
    "ObstructedMaze-2Dlh": 5,
    "ObstructedMaze-2Dlhb": 5,
    "ObstructedMaze-2Dlhb-v1": 5,
    "ObstructedMaze-2Q": 5,
    "ObstructedMaze-2Q-v1": 5,
    "ObstructedMaze-Full": 5,
    "ObstructedMaze-Full-v1": 5,
    "PutNear-6x6-N2": 8,
    "PutNear-8x8-N3": 8,
    "RedBlueDoors-6x6": 8,
    "RedBlueDoors-8x8": 8,
    "SimpleCrossingS9N1": 10,
    "SimpleCrossingS9N2": 10,
    "SimpleCrossingS9N3": 10,
    "SimpleCrossingS11N5": 10,
    "Unlock": 3,
    "UnlockPickup": 5,
}
"""MiniGrid's tasks, with the words and commas of their longest mission; version 0 where a name has none.

Version 0 of MultiRoom-N4-S5 has six rooms instead of four, and in version 0 of the mazes a ball may have taken a key's
place, so that some levels can't be done: the expert gives up on them. Left out are Playground, which has no goal, and
the six of wave function collapse, whose patterns are not in the package.
"""


def list_tasks() -> list[Task]:
    """Return MiniGrid's tasks, without importing it."""
    return [
        Task(
            id=f"minigrid/{name}",
            make_environment=partial(_make_environment, f"MiniGrid-{name}" + ("" if name.endswith("-v1") else "-v0")),
            make_expert=_make_expert,
            expert_route="planner",
            num_episodes=1000,
            description=f"Walk through a grid of which a part is seen, and do what a sentence says: MiniGrid's {name}.",
            licence="Apache-2.0",
            code_version="1",
            text_tokens=text_tokens,
        )
        for name, text_tokens in _TEXT_TOKENS.items()
    ]


def list_sentences() -> list[str]:
    """Return missions from which a tokenizer learns the family's words."""
    return list_missions()


def _make_environment(environment_id: str) -> gymnasium.Env:
    from tasks.minigrid.environment import MiniGridEnvironment  # imports minigrid, which takes long

    return MiniGridEnvironment(environment_id)


def _make_expert() -> Expert:
    from tasks.minigrid.expert import PlannerExpert

    return PlannerExpert()
