from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from functools import cache

from tasks.task import Task

_MODULES: Mapping[str, str] = {
    "atari": "tasks.atari.instances",
    "babyai": "tasks.babyai.instances",
    "black_box": "tasks.black_box.instances",
    "bin_packing": "tasks.bin_packing.instances",
    "captions": "tasks.corpora.captions",
    "control": "tasks.control.instances",
    "dialogue": "tasks.corpora.dialogue",
    "dm_control": "tasks.dm_control.instances",
    "first_person": "tasks.first_person.instances",
    "job_shop": "tasks.job_shop.instances",
    "knapsack": "tasks.knapsack.instances",
    "meta_world": "tasks.meta_world.instances",
    "minigrid": "tasks.minigrid.instances",
    "modular_rl": "tasks.modular_rl.instances",
    "mujoco": "tasks.mujoco.instances",
    "multi_agent": "tasks.multi_agent.instances",
    "procgen": "tasks.procgen.instances",
    "questions": "tasks.corpora.questions",
    "sokoban": "tasks.sokoban.instances",
    "text": "tasks.corpora.text",
    "tsp": "tasks.tsp.instances",
    "vehicle_routing": "tasks.vehicle_routing.instances",
}
"""One line a family: a module that imports neither simulator nor solver and has ``list_tasks() -> list[Task]``.

A family whose observations hold text also has ``list_sentences() -> list[str]``.
"""

_DEMO = (
    "control/CartPole",
    "control/MountainCar",
    "control/MountainCarContinuous",
    "control/Acrobot",
    "control/Pendulum",
    "control/LunarLander",
    "control/LunarLanderContinuous",
    "babyai/GoToObj",
    "babyai/GoToRedBallNoDists",
    "babyai/GoToRedBall",
    "babyai/GoToRedBlueBall",
    "babyai/GoToLocalS8N2",
    "babyai/GoToLocal",
    "babyai/OpenRedDoor",
    "tsp/tsp100-city-0",
    "tsp/tsp100-city-1",
    "tsp/tsp100-city-2",
)


def families() -> list[str]:
    """Return the names of all families, sorted."""
    return sorted(_MODULES)


def tasks_of(family: str) -> list[Task]:
    """Return all tasks of a family, in its own order.

    Raises:
        ValueError: If there is no such family.
    """
    if family not in _MODULES:
        raise ValueError(
            f"unknown family {family!r}; expected one of {', '.join(families())} (see them with: db1 tasks)"
        )
    return list(_tasks(family).values())


def list_task_ids() -> list[str]:
    """Return the ids of all tasks, family by family."""
    return [task_id for family in families() for task_id in _tasks(family)]


def get_task(task_id: str) -> Task:
    """Return the task of this id.

    Raises:
        ValueError: If there is none; the message names the closest ids.
    """
    family = task_id.split("/", 1)[0]
    tasks = _tasks(family) if family in _MODULES else {}
    if task_id not in tasks:
        raise ValueError(_unknown("task", task_id, list_task_ids()))
    return tasks[task_id]


def list_sentences(chosen: Iterable[str]) -> list[str]:
    """Return sentences like those that the tasks of some families show, from which a tokenizer learns its words.

    Those of a family that has few are repeated, so that every family has about as many characters, and its words become
    tokens beside a family's of long texts.
    """
    modules = [importlib.import_module(_MODULES[family]) for family in sorted(set(chosen))]
    spoken = [module.list_sentences() for module in modules if hasattr(module, "list_sentences")]
    most = max((sum(map(len, sentences)) for sentences in spoken), default=0)
    repeated = (sentences * (most // sum(map(len, sentences))) for sentences in spoken)
    return [sentence for sentences in repeated for sentence in sentences]


def select_tasks(selection: str) -> tuple[str, ...]:
    """Return the task ids that a selection's name, a family, a task id, or several of them with commas, stand for.

    A task of a user's own episodes is only chosen by its id.

    Raises:
        ValueError: If a part is none of these.
    """
    chosen: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in selection.split(","))):
        if part in SELECTIONS:
            chosen |= dict.fromkeys(SELECTIONS[part])
        elif part in _MODULES:
            chosen |= dict.fromkeys(_made_here(part))
        elif "/" in part:
            chosen[get_task(part).id] = None
        else:
            raise ValueError(_unknown("selection", part, [*SELECTIONS, *_MODULES, *list_task_ids()]))
    if not chosen:
        raise ValueError(f"the selection {selection!r} names no task; see the tasks with: db1 tasks")
    return tuple(chosen)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    by_lower = {candidate.lower(): candidate for candidate in known}
    closest = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(closest)}? " if closest else ""
    return f"unknown {what} {name!r}; {hint}All tasks are listed by: db1 tasks"


def _made_here(family: str) -> list[str]:
    return [task_id for task_id, task in _tasks(family).items() if not task.is_own]


@cache
def _tasks(family: str) -> dict[str, Task]:
    tasks = importlib.import_module(_MODULES[family]).list_tasks()
    return {task.id: task for task in tasks}


SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "demo": _DEMO,
    "full": tuple(task_id for family in families() for task_id in _made_here(family)),
}
"""Named sets of task ids: ``demo`` trains on two cores in minutes, ``full`` is everything that is made here."""
