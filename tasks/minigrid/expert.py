from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.envs.crossing import CrossingEnv
from minigrid.envs.distshift import DistShiftEnv
from minigrid.envs.dynamicobstacles import DynamicObstaclesEnv
from minigrid.envs.empty import EmptyEnv
from minigrid.envs.lavagap import LavaGapEnv
from minigrid.minigrid_env import MiniGridEnv

from tasks.babyai.environment import decode_view
from tasks.minigrid.memory import BALL, EMPTY, GOAL, KEY, OPEN, UNSEEN, GridMemory
from tasks.minigrid.missions import Mission, parse_mission
from tasks.minigrid.planner import Planner
from tasks.task import Observation, unwrap

_WITH_A_FIXED_GOAL = (CrossingEnv, DistShiftEnv, DynamicObstaclesEnv, EmptyEnv, LavaGapEnv)
"""Environments whose goal square is in the same place in every episode, with nothing to do before."""


class PlannerExpert:
    """Plans each action with what it has seen so far, and looks around for what it misses.

    A mission becomes poses to reach and an action to take there. The cheapest way to them may lead through things and
    locked doors at a price; the first of these on the way is the next thing to deal with: a ball to pick up and put
    aside, a door to unlock, its key to fetch. Each action is planned anew, so the plan is always of the present state.

    Of what it has not seen it knows only what is the same in every episode of a task: the size of the grid, where the
    hallway's objects lie, and the goal square where that never moves.
    """

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode, having seen nothing.

        Raises:
            ValueError: If the environment is not one of MiniGrid's.
        """
        self._environment = inner = unwrap(environment, MiniGridEnv)
        self._memory = GridMemory(inner.width, inner.height, sees_through_walls=inner.see_through_walls)
        self._mission = parse_mission(inner.mission)
        self._is_moving = isinstance(inner, DynamicObstaclesEnv)
        if isinstance(inner, _WITH_A_FIXED_GOAL):
            for x, y in np.ndindex(inner.width, inner.height):
                if (thing := inner.grid.get(x, y)) is not None and thing.type == "goal":
                    self._memory.learn(self._memory.cell_at(x, y), GOAL)
        self._planner = Planner(self._memory, self._mission, is_moving=self._is_moving)

    def act(self, observation: Observation) -> int:
        """Return the action for what has been seen so far.

        Raises:
            RuntimeError: If nothing is left to try.
        """
        memory = self._memory
        if self._is_moving:
            memory.forget(BALL)
        x, y = (int(part) for part in self._environment.agent_pos)
        pose = 4 * memory.cell_at(x, y) + int(self._environment.agent_dir)
        memory.update(decode_view(observation["view"][:-1]), pose)
        self._planner.begin()
        return int(self._pursue(self._mission))

    def provenance(self) -> Mapping[str, Any]:
        """Return the planner's name and MiniGrid's version."""
        return {"planner": "cheapest paths over what has been seen", "minigrid": version("minigrid")}

    def _pursue(self, mission: Mission) -> Actions:
        planner, memory = self._planner, self._memory
        found = [memory.find(OBJECT_TO_IDX[kind], colour) for colour, kind in mission.things]
        match mission.verb:
            case "reach" if goals := memory.find(GOAL):
                return planner.reach(_stand_on(goals))
            case "take" | "fetch" if found[0]:
                return planner.take(found[0])
            case "visit" if found[0]:
                beside = [cell + step for cell in found[0] for step in memory.steps]
                return planner.reach(_stand_on(beside), Actions.done)
            case "put" if memory.carried is None and found[0]:
                return planner.take(found[0])
            case "put" if memory.carried is not None and found[1]:
                return self._put_near(found[1][0])
            case "open":
                for doors in found:
                    if not doors:
                        break
                    if memory.states[doors[0]] != OPEN:
                        return planner.open(doors[0])
            case "match":
                return self._match()
        return planner.explore()

    def _put_near(self, cell: int) -> Actions:
        memory = self._memory
        right, down = memory.steps[:2]
        near = [cell + x * right + y * down for x in (-1, 0, 1) for y in (-1, 0, 1)]
        return self._planner.reach(
            self._planner.face([place for place in near if memory.kinds[place] == EMPTY]), Actions.drop
        )

    def _match(self) -> Actions:
        """Look at the object in the start room, then walk to where its like is, or where the other one is not."""
        memory, planner = self._memory, self._planner
        height = self._environment.height
        shown = memory.cell_at(1, height // 2 - 1)
        if memory.kinds[shown] == UNSEEN:
            return planner.look_at(shown)
        ends = {cell: kind for kind in (KEY, BALL) for cell in memory.find(kind) if cell != shown}
        if not ends:
            return planner.explore()
        cell, kind = next(iter(ends.items()))
        down = memory.steps[1]
        toward = down if (cell - memory.cell_at(0, height // 2)) < 0 else -down
        if kind != memory.kinds[shown]:
            cell, toward = cell + 4 * toward, -toward
        planner.avoided = {cell + 3 * toward}
        return planner.reach(_stand_on([cell + toward]))


def _stand_on(cells: list[int]) -> set[int]:
    return {4 * cell + way for cell in cells for way in range(4)}
