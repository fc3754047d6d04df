from __future__ import annotations

from collections.abc import Mapping

from assets.resources import Experiment
from db1_model.weights import GATO_LANGUAGE

_DEMO_WEIGHTS = {
    "tsp/tsp100-city-0": 0.13,
    "tsp/tsp100-city-1": 0.13,
    "tsp/tsp100-city-2": 0.13,
    "babyai/GoToLocal": 0.10,
    "babyai/GoToLocalS8N2": 0.06,
    "babyai/GoToRedBall": 0.05,
    "babyai/GoToRedBlueBall": 0.05,
    "control/Pendulum": 0.07,
    "control/LunarLander": 0.06,
    "control/LunarLanderContinuous": 0.04,
}
"""Shares of the training sequences; the demo's other tasks are learned soon and share the rest equally."""

_DEMO_TRAINING = {
    "preset": "db1-nano",
    "steps": 4000,
    "batch_windows": 32,
    "learning_rate": 2e-3,
    "final_learning_rate": 5e-5,
    "warmup_steps": 100,
    "checkpoint_every": 250,
    "devices": 2,
    "weights": _DEMO_WEIGHTS,
}

_LANGUAGE_WEIGHTS = {
    "text/documentation": 0.08,
    "captions/rooms-1": 0.06,
    "captions/rooms-2": 0.18,
    "questions/rooms": 0.10,
    "dialogue/city-questions": 0.05,
    "dialogue/city-talks": 0.07,
}
"""Shares of the demo with language; its control tasks share the rest as in the demo."""

_CONTROL_SHARE = 1 - sum(_LANGUAGE_WEIGHTS.values())

_DEMO_LANGUAGE_TRAINING = _DEMO_TRAINING | {
    "preset": "db1-nano-language",
    "steps": 8400,
    "weights": _LANGUAGE_WEIGHTS | {task: _CONTROL_SHARE * share for task, share in _DEMO_WEIGHTS.items()},
}

_FULL_WEIGHTS = {"families": {family: share / 100 for family, share in GATO_LANGUAGE.items()}}
"""Language has Gato's 14.7 %; the other tasks share the rest equally."""


def _define_large(name: str, preset: str) -> Experiment:
    return Experiment(name=name, tasks="full", only_proven=True, training={"preset": preset, "weights": _FULL_WEIGHTS})


EXPERIMENTS: Mapping[str, Experiment] = {
    "demo": Experiment(name="demo", tasks="demo", tour_tier="fast", training=_DEMO_TRAINING),
    "demo_language": Experiment(
        name="demo_language",
        tasks=",".join(["demo", *_LANGUAGE_WEIGHTS]),
        tour_tier="fast",
        training=_DEMO_LANGUAGE_TRAINING,
    ),
    "proof": Experiment(name="proof", tasks="full", only_proven=True, num_episodes=10),
    "small": _define_large("small", "db1-small"),
    "medium": _define_large("medium", "db1-medium"),
    "full": _define_large("full", "db1-1.2b"),
    "gato": _define_large("gato", "gato-1.2b"),
}
"""What can be made: ``demo`` takes minutes on two cores, ``demo_language`` adds words and pictures to it, ``full`` is
DB1's size on all tasks, ``gato`` Gato's way.

The demo's training tours have the 1-tree's bound alone, which takes a third of the time; they are 0.01 % longer than
the shortest on average (``python -m benchmarks.tsp_solver``). Its evaluation tours are proven.

``proof`` plays ten episodes of every task, enough to see which experts are proven (``db1 make catalogue -e proof``).
"""


def get_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; expected one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
