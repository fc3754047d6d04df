from __future__ import annotations

from collections.abc import Collection, Iterable

from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX

from tasks.minigrid.memory import BOX, DOOR, EMPTY, FLOOR, GOAL, KEY, LOCKED, MOVABLE, OPEN, UNSEEN, GridMemory
from tasks.minigrid.missions import Mission
from tasks.minigrid.paths import measure_paths, trace_path

_CLEARING = 12  # steps that it takes about to put a thing out of the way
_FETCHING = 30  # to bring a key that has been seen
_SEEKING = 200  # to find a key
_DOORWAY = 50  # what it costs to drop a thing next to a door
_BOX_GAIN = 6  # unseen cells that looking into a box is worth where a key is missing
_LOOKING = 2  # steps that a look costs beside the way to it
_MAX_DEPTH = 20


class Planner:
    """Finds the next action toward a pose through what stands in the way, or toward where most is still to be seen.

    Args:
        memory: What has been seen.
        mission: What may be opened and moved.
        is_moving: Whether balls move by themselves, so that they are walked around and not put aside.
    """

    def __init__(self, memory: GridMemory, mission: Mission, *, is_moving: bool) -> None:
        self._memory, self._mission, self._is_moving = memory, mission, is_moving
        self.avoided: set[int] = set()
        self._depth = 0
        self._sought: tuple[int, Actions | None] | None = None
        self._num_changes = -1

    def begin(self) -> None:
        """Begin the plan of an action."""
        self._depth = 0

    def face(self, cells: Iterable[int]) -> set[int]:
        """Return the poses in front of cells."""
        return {4 * (cell - step) + way for cell in cells for way, step in enumerate(self._memory.steps)}

    def take(self, cells: Iterable[int]) -> Actions:
        """Return the next action for picking up the nearest of some things."""
        return self.reach(self.face(cells), Actions.pickup, with_empty_hands=True)

    def open(self, door: int) -> Actions:
        """Return the next action for opening a door, with its key where it is locked."""
        memory = self._memory
        if memory.states[door] == LOCKED:
            return self.reach(self.face([door]), Actions.toggle, key=memory.colours[door])
        return self.reach(self.face([door]), Actions.toggle)

    def reach(
        self,
        poses: Iterable[int],
        last: Actions | None = None,
        *,
        with_empty_hands: bool = False,
        key: int | None = None,
    ) -> Actions:
        """Return the next action on the cheapest way to one of some poses.

        Args:
            poses: Where to go.
            last: What to do there; None where to be there is all.
            with_empty_hands: Whether nothing may be carried there.
            key: Colour of a key that must be carried there.

        Raises:
            RuntimeError: If the plan goes in circles or nothing is left to try.
        """
        self._descend()
        memory = self._memory
        tolls = self._toll_cells(unseen=2, without_key=_SEEKING)
        keys = [] if key is None or self._holds_key(key) else self._find_keys(key)
        for cell in keys:
            tolls[cell] = min(tolls[cell], 1)
        here = memory.pose // 4
        ends = [pose for pose in poses if tolls[pose // 4] or pose // 4 == here]
        costs, onward = measure_paths(ends, tolls, memory.steps, backward=True)
        if memory.pose not in costs:
            return Actions.left if self._is_moving else self.explore()
        path = trace_path(memory.pose, onward)
        for cell in dict.fromkeys(pose // 4 for pose in path):
            if memory.kinds[cell] in MOVABLE and cell not in keys and not self._is_moving:
                return self.take([cell])
            if self._is_locked(cell) and not self._holds_key(memory.colours[cell]):
                return self._fetch_key(memory.colours[cell])
        if key is not None and not self._holds_key(key):
            return self._fetch_key(key)
        if with_empty_hands and memory.carried is not None:
            return self._put_aside(costs, onward)
        if len(path) > 1:
            return self._move(path[1])
        if last is None:
            raise RuntimeError("the plan's place is reached, and nothing came of it")
        return last

    def look_at(self, cell: int) -> Actions:
        """Return the next action for seeing a cell, through cells unseen so far where need be."""
        return self.reach(self.face([cell]))

    def explore(self) -> Actions:
        """Return the next action for seeing something new.

        A locked door whose key is at hand comes first, then the best bargain of new cells for steps; boxes count as new
        cells where a key is missing. Doors of another colour than the mission names are left shut as long as possible.

        Raises:
            RuntimeError: If there is nothing new within reach.
        """
        self._descend()
        memory = self._memory
        if self._sought is not None and self._num_changes == memory.num_changes:
            return self.reach([self._sought[0]], self._sought[1])
        self._num_changes = memory.num_changes
        for doors in self._choose_doors():
            tolls = self._toll_cells(unseen=0, without_key=0, doors=doors)
            costs, _ = measure_paths([memory.pose], tolls, memory.steps)
            if (door := self._choose_lock(costs)) is not None:
                self._sought = None
                return self.open(door)
            if (found := self._choose_view(costs)) is not None:
                self._sought = found
                return self.reach([found[0]], found[1])
        raise RuntimeError("nothing is left to try, yet the mission is not accomplished")

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise RuntimeError("the plan goes in circles: what is needed for each thing needs the thing itself")

    def _fetch_key(self, colour: int) -> Actions:
        keys = self._find_keys(colour)
        return self.take(keys) if keys else self.explore()

    def _move(self, pose: int) -> Actions:
        memory = self._memory
        here, direction = divmod(memory.pose, 4)
        cell = pose // 4
        if cell == here:
            return Actions.right if (pose - direction) % 4 == 1 else Actions.left
        return Actions.toggle if memory.kinds[cell] == DOOR and memory.states[cell] != OPEN else Actions.forward

    def _put_aside(self, costs: dict[int, int], onward: dict[int, int]) -> Actions:
        """Drop what is carried where it lies in no way; the costs and ways are those from each pose to the next aim."""
        memory = self._memory
        tolls = self._toll_cells(unseen=0, without_key=0, things=0)
        spent, back = measure_paths([memory.pose], tolls, memory.steps)
        best, place = 1 << 30, -1
        for pose, cost in spent.items():
            cell = pose // 4 + memory.steps[pose % 4]
            if memory.kinds[cell] != EMPTY or pose not in costs or cost + costs[pose] >= best:
                continue
            total = cost + costs[pose] + _DOORWAY * any(memory.kinds[cell + step] == DOOR for step in memory.steps)
            if total < best and all(later // 4 != cell for later in trace_path(pose, onward)):
                best, place = total, pose
        if place == -1:
            raise RuntimeError("there is no room to put down what is carried")
        path = trace_path(place, back)
        return self._move(path[-2]) if len(path) > 1 else Actions.drop

    def _choose_doors(self) -> list[list[int] | None]:
        """Return the colours of the doors to open while exploring, then those to open if that shows nothing new."""
        room = self._mission.room
        if not room:
            return [None]
        return [[] if self._has_seen_a_key() else [COLOR_TO_IDX[room]], None]

    def _choose_lock(self, costs: dict[int, int]) -> int | None:
        """Return the locked door to open next: one with something unseen behind it, and a key that can be had.

        The key in hand decides, so that it is not exchanged for another on the way.
        """
        memory = self._memory
        options: list[tuple[bool, int, int]] = []
        for door in memory.find(DOOR):
            if not self._is_locked(door) or not any(memory.kinds[door + step] == UNSEEN for step in memory.steps):
                continue
            colour = memory.colours[door]
            is_at_hand = self._holds_key(colour)
            way = self._cost_of(self.face([door]), costs)
            to_key = 0 if is_at_hand else self._cost_of(self.face(self._find_keys(colour)), costs)
            if way is not None and to_key is not None:
                options.append((not is_at_hand, way + to_key, door))
        return min(options)[2] if options else None

    def _choose_view(self, costs: dict[int, int]) -> tuple[int, Actions | None] | None:
        """Return the pose that shows the most new cells for its cost, and what to do there."""
        memory = self._memory
        frontier = memory.find_frontier()
        boxes = set(memory.find(BOX)) - self._named() if self._lacks_a_key() else set()
        best, found = 0.0, None
        for pose, cost in sorted(costs.items(), key=lambda item: (item[1], item[0])):
            if best >= max(len(frontier), _BOX_GAIN) / (cost + _LOOKING):
                break
            gain = len(frontier.intersection(memory.look(pose)))
            if gain > best * (cost + _LOOKING):
                best, found = gain / (cost + _LOOKING), (pose, None)
            if pose // 4 + memory.steps[pose % 4] in boxes and best * (cost + _LOOKING) < _BOX_GAIN:
                best, found = _BOX_GAIN / (cost + _LOOKING), (pose, Actions.toggle)
        return found

    def _toll_cells(
        self, *, unseen: int, without_key: int, things: int = _CLEARING, doors: Collection[int] | None = None
    ) -> list[int]:
        """Return what it costs to enter each cell; 0 where that can't be done.

        Args:
            unseen: Toll of an unseen cell.
            without_key: Toll of a locked door whose key is unknown.
            things: Toll of a thing that is to be put out of the way first.
            doors: Colours of the shut doors that may be opened; None for all.
        """
        memory, mission = self._memory, self._mission
        if not mission.may_move:
            things = 0
        if self._is_moving:
            things = 1
        tolls = [0] * len(memory.kinds)
        by_kind = {EMPTY: 1, FLOOR: 1, GOAL: 1, UNSEEN: unseen} | dict.fromkeys(MOVABLE, things)
        for cell in memory.inside:
            kind, colour = memory.kinds[cell], memory.colours[cell]
            tolls[cell] = by_kind.get(kind, 0)
            if kind != DOOR:
                continue
            if memory.states[cell] == OPEN:
                tolls[cell] = 1
            elif not self._is_locked(cell):
                tolls[cell] = 2 if mission.may_open and (doors is None or colour in doors) else 0
            elif self._holds_key(colour):
                tolls[cell] = 2
            else:
                tolls[cell] = _FETCHING if things and self._find_keys(colour) else without_key
        ahead = memory.pose // 4 + memory.steps[memory.pose % 4]
        if self._is_moving and memory.kinds[ahead] in MOVABLE:
            tolls[ahead] = 0
        for cell in self.avoided:
            tolls[cell] = 0
        return tolls

    def _cost_of(self, poses: Collection[int], costs: dict[int, int]) -> int | None:
        return min((costs[pose] for pose in poses if pose in costs), default=None)

    def _find_keys(self, colour: int) -> list[int]:
        return [cell for cell in self._memory.find(KEY) if self._memory.colours[cell] == colour]

    def _holds_key(self, colour: int) -> bool:
        return self._memory.carried == (KEY, colour)

    def _is_locked(self, cell: int) -> bool:
        return self._memory.kinds[cell] == DOOR and self._memory.states[cell] == LOCKED

    def _has_seen_a_key(self) -> bool:
        memory = self._memory
        return bool(memory.find(KEY)) or (memory.carried is not None and memory.carried[0] == KEY)

    def _lacks_a_key(self) -> bool:
        memory = self._memory
        colours = {memory.colours[door] for door in memory.find(DOOR) if self._is_locked(door)}
        return any(not self._find_keys(colour) and not self._holds_key(colour) for colour in colours)

    def _named(self) -> set[int]:
        memory = self._memory
        return {cell for colour, kind in self._mission.things for cell in memory.find(OBJECT_TO_IDX[kind], colour)}
