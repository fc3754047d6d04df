from __future__ import annotations

import warnings

from gymnasium import spaces
from minigrid.envs.dynamicobstacles import DynamicObstaclesEnv

from tasks.babyai.environment import BabyAIEnvironment


class MiniGridEnvironment(BabyAIEnvironment):
    """A task of MiniGrid: rooms, doors, keys, lava or moving balls, seen in part, and a mission in words.

    Observation:
        As in BabyAI. ``view``: 49 cells of 7 x 7, one number each for object, colour and state, row by row from the
        farthest; the agent stands in the middle of the last row and looks up, and what it carries lies in its own cell.
        Then the compass, as one of four numbers above those of the cells. int64, shape (50,).
        ``mission``: what is to be done, the same at each step.

    Action:
        0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle (open, close, unlock), 6 done. Only the first
        three among moving obstacles.

    Reward:
        1 - 0.9 * steps / limit when the mission is accomplished, else 0; among moving obstacles -1 for walking into one
        or into a wall. ``info["summary"]["success"]`` at the end says whether the mission was accomplished.

    End:
        The mission is accomplished, made impossible, or the original's limit of steps is reached.

    Expert:
        A planner that knows the missions' meaning and remembers what it has seen.

    Licence:
        Apache-2.0 (minigrid).

    Source:
        Chevalier-Boisvert et al., "Minigrid and Miniworld: modular and customizable reinforcement learning environments
        for goal-oriented tasks", 2023; the tasks are those of the package minigrid.
    """

    def __init__(self, environment_id: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # some tasks have a later version, which is here too
            super().__init__(environment_id)
        if isinstance(self.unwrapped, DynamicObstaclesEnv):
            self.action_space = spaces.Discrete(3)
