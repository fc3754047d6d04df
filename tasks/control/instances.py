from __future__ import annotations

from functools import partial

from tasks.control.environment import PLANTS, ControlEnvironment
from tasks.control.expert import ScriptedExpert
from tasks.task import Task

_DESCRIPTIONS = {
    "CartPole": "Balance a pole on a cart that is pushed left or right.",
    "MountainCar": "Swing a weak car out of a valley with full throttle one way, the other, or none.",
    "MountainCarContinuous": "Swing a weak car out of a valley with little fuel.",
    "Acrobot": "Swing the tip of a double pendulum above a line by turning its elbow.",
    "Pendulum": "Swing a pendulum up with a weak motor and hold it upright.",
    "LunarLander": "Land a craft on a pad with three engines that are on or off.",
    "LunarLanderContinuous": "Land a craft on a pad with throttled engines.",
}


def list_tasks() -> list[Task]:
    """Return the classic control problems and Lunar Lander, without building any of them."""
    return [
        Task(
            id=f"control/{name}",
            make_environment=partial(ControlEnvironment, plant),
            make_expert=partial(ScriptedExpert, name),
            expert_route="script",
            num_episodes=300,
            description=_DESCRIPTIONS[name],
            licence="MIT",
            code_version="2",
        )
        for name, plant in PLANTS.items()
    ]
