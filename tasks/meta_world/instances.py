from __future__ import annotations

from functools import partial

import gymnasium

from tasks.task import Expert, Task

NAMES = (
    "assembly",
    "basketball",
    "bin-picking",
    "box-close",
    "button-press-topdown",
    "button-press-topdown-wall",
    "button-press",
    "button-press-wall",
    "coffee-button",
    "coffee-pull",
    "coffee-push",
    "dial-turn",
    "disassemble",
    "door-close",
    "door-lock",
    "door-open",
    "door-unlock",
    "hand-insert",
    "drawer-close",
    "drawer-open",
    "faucet-open",
    "faucet-close",
    "hammer",
    "handle-press-side",
    "handle-press",
    "handle-pull-side",
    "handle-pull",
    "lever-pull",
    "pick-place-wall",
    "pick-out-of-hole",
    "pick-place",
    "plate-slide",
    "plate-slide-side",
    "plate-slide-back",
    "plate-slide-back-side",
    "peg-insert-side",
    "peg-unplug-side",
    "soccer",
    "stick-push",
    "stick-pull",
    "push",
    "push-wall",
    "push-back",
    "reach",
    "reach-wall",
    "shelf-place",
    "sweep-into",
    "sweep",
    "window-open",
    "window-close",
)
"""Meta-World's 50 tasks, in its own order and without the version."""


def list_tasks() -> list[Task]:
    """Return Meta-World's tasks, without importing it."""
    return [
        Task(
            id=f"meta_world/{name}",
            make_environment=partial(_make_environment, name),
            make_expert=_make_expert,
            expert_route="script",
            num_episodes=200,
            description=f"Move a robot's arm and gripper: {name.replace('-', ' ')}.",
            licence="MIT",
            code_version="1",
            extra="meta_world",
        )
        for name in NAMES
    ]


def _make_environment(name: str) -> gymnasium.Env:
    from tasks.meta_world.environment import ManipulationEnvironment

    return ManipulationEnvironment(name)


def _make_expert() -> Expert:
    from tasks.meta_world.expert import ScriptedExpert

    return ScriptedExpert()
