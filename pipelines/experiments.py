from __future__ import annotations

from collections.abc import Mapping

from assets.resources import Experiment

EXPERIMENTS: Mapping[str, Experiment] = {
    "demo": Experiment(name="demo", tasks="demo"),
    "full": Experiment(name="full", tasks="full", training={"preset": "db1-1.2b"}),
}
"""What the jobs make: ``demo`` takes minutes on two cores, ``full`` is DB1's size on all tasks."""


def get_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; expected one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
